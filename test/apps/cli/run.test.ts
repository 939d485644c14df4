import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'brittle'
import type { ErrorJson } from '../../../apps/api.ts'
import { VERB_NAMES } from '../../../apps/cli/run.ts'
import { VERSION } from '../../../apps/version.ts'
import { BrumeError } from '../../../core/errors.ts'
import { cli, fakeDaemon, tempDir } from './fake-daemon.ts'

test('run - options of all verbs are taken before and after the verb', async (t) => {
  const dir = await fakeDaemon(t, { 'GET /replicas': () => [] })
  const outs = await Promise.all([
    cli(['--data', dir, '--json', 'ps']),
    cli(['ps', '--json', '--data', dir]),
    cli(['ps', '--json'], { env: { BRUME_DATA: dir } })
  ])
  for (const ran of outs) t.alike(ran, { code: 0, out: '[]\n', err: '' })
})

test('run - an unknown verb, option or argument says which, and the nearest', async (t) => {
  t.alike(await cli(['deplyo']), {
    code: 1,
    out: '',
    err: "brume: unknown command 'deplyo' (Did you mean deploy?)\n  next: brume --help\n"
  })
  t.alike(await cli(['ps', '--jsn']), {
    code: 1,
    out: '',
    err: "brume: unknown option '--jsn' (Did you mean --json?)\n  next: brume --help\n"
  })
  t.is((await cli(['ps', 'a', 'b'])).code, 1)
  t.is(
    (await cli(['describe'])).err,
    "brume: missing required argument 'ref'\n  next: brume --help\n"
  )
})

test('run - with --json the error is on stdout as data, and its sentence on stderr as ever', async (t) => {
  const dir = await tempDir(t)
  const ran = await cli(['ps', '--json', '--data', dir])
  t.is(ran.code, 1)
  t.alike((JSON.parse(ran.out) as ErrorJson).error, {
    code: 'DAEMON_NOT_RUNNING',
    message: `no brume daemon runs for ${dir}`,
    next: `brume up --data ${dir}`,
    exitCode: 1
  })
  t.is(ran.err, `brume: no brume daemon runs for ${dir}\n  next: brume up --data ${dir}\n`)
  t.is((JSON.parse((await cli(['pss', '--json'])).out) as ErrorJson).error.code, 'USAGE')
})

test('run - the daemon’s exit code is the command’s', async (t) => {
  const dir = await fakeDaemon(t, {
    'GET /replicas': () => {
      throw new BrumeError('ASKED_TOO_LONG', 'no', { exitCode: 3 })
    }
  })
  t.is((await cli(['ps', '--data', dir])).code, 3)
})

test('run - help names every verb; help of a verb its own and the common options', async (t) => {
  const help = await cli(['--help'])
  t.is(help.code, 0)
  for (const verb of ['init', 'join', 'deploy', 'ps', 'logs', 'scale', 'rm', 'up', 'down']) {
    t.ok(new RegExp(`^  ${verb} `, 'm').test(help.out), verb)
  }
  const logs = await cli(['help', 'logs'])
  t.is(logs.code, 0)
  t.ok(logs.out.includes('--tail') && logs.out.includes('--data'))
  t.is((await cli(['--version'])).out, `${VERSION}\n`)
})

test('run - a noun has verbs: its help lists them, and one misspelt is told the nearest', async (t) => {
  const node = await cli(['node', '--help'])
  t.is(node.code, 0)
  t.alike(
    [...(node.out.split('Commands:\n')[1] ?? '').matchAll(/^ {2}(\w+)/gm)].map(([, verb]) => verb),
    VERB_NAMES.filter((name) => name.startsWith('node ')).map((name) => name.slice(5))
  )
  t.is((await cli(['node'])).code, 1, 'alone it does nothing')
  t.is(
    (await cli(['node', 'renme'])).err,
    "brume: unknown command 'renme' (Did you mean rename?)\n  next: brume --help\n"
  )
  t.ok((await cli(['help', 'node', 'rm'])).out.startsWith('Usage: brume node rm '))
})

test('run - a noun may be a verb too', async (t) => {
  const dir = await fakeDaemon(t, {
    'GET /key': () => ({ key: 'old' }),
    'POST /key/rotate': () => ({ key: 'new' })
  })
  t.is((await cli(['key', '--data', dir])).out, 'old\n')
  for (const args of [
    ['--data', dir, 'key', 'rotate'],
    ['key', '--data', dir, 'rotate']
  ])
    t.is((await cli([...args, '--json'])).out, '{"key":"new"}\n')
  t.is(
    (await cli(['key', 'rotat'])).err,
    "brume: unknown command 'rotat' (Did you mean rotate?)\n  next: brume --help\n"
  )
  t.ok((await cli(['key', '--help'])).out.includes('  rotate '))
})

test('run - a verb loads what it needs: ps reaches commander and nothing else of npm', (t) => {
  const cli = new URL('../../../apps/cli/', import.meta.url)
  const ps = reachable([new URL('main.ts', cli), new URL('verbs/ps.ts', cli)])
  t.alike([...ps.packages], ['commander'])
  t.absent(
    [...ps.files].find((file) => file.includes('/roles/') || file.includes('/formats/')),
    'no floor below the client'
  )
  const deploy = reachable([new URL('verbs/deploy.ts', cli)])
  t.absent(deploy.packages.has('yaml'), 'not even for its help')
})

test('run - a reader that has had enough ends it quietly', { timeout: 60_000 }, async (t) => {
  const rows = Array.from({ length: 20_000 }, (_, slot) => ({ slot }))
  const dir = await fakeDaemon(t, {
    'GET /logs': () => ({
      lines: (async function* () {
        for (const { slot } of rows) {
          yield { microservice: 'web', slot, node: 'pi', line: 'x'.repeat(200) }
        }
      })()
    })
  })
  const child = spawn(process.execPath, ['--import', 'tsx', MAIN, 'logs', 'web', '--data', dir], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let err = ''
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  await once(child.stdout, 'data')
  child.stdout.destroy()
  const [code] = (await once(child, 'close')) as [number]
  t.is(code, 0)
  t.is(err, '')
})

const MAIN = fileURLToPath(new URL('../../../apps/cli/main.ts', import.meta.url))

/** What is loaded with these files: dynamic imports are not followed, types are not imports. */
function reachable(roots: URL[]): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>()
  const packages = new Set<string>()
  const queue = [...roots]
  for (let url = queue.pop(); url; url = queue.pop()) {
    if (files.has(url.href)) continue
    files.add(url.href)
    const text = readFileSync(url, 'utf8')
    for (const [, from = ''] of text.matchAll(
      /^(?:import|export) (?!type\b)(?:[^'"]*? from )?['"]([^'"]+)['"]/gm
    )) {
      if (from.startsWith('.')) queue.push(new URL(from, url))
      else if (!from.startsWith('node:')) packages.add(from)
    }
  }
  return { files, packages }
}
