/** The quickstart as a person runs it: one process, from its first line to nothing left behind. */
import test, { type Assert } from 'brittle'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { builtCli, builtFile } from '../helpers/cli.ts'
import { dockerApi } from '../helpers/docker-api.ts'
import { dockerSocket } from '../helpers/docker.ts'
import { waitUntil } from '../helpers/wait.ts'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..', '..')
const TIMEOUT = { timeout: 180_000 }

// Beside each other: they wait more than they compute.
test('quickstart - tells its story on both engines, and leaves nothing', TIMEOUT, async (t) => {
  const socket = await dockerSocket()
  const before = await onMachine(socket)
  const [stays, once, leaves] = await Promise.all([
    start(t, ['--engine', 'process']),
    start(t, ['--once', '--engine', 'docker'], { DOCKER_HOST: `unix://${socket}` }),
    start(t, ['--engine', 'process'])
  ])
  await Promise.all([
    interrupt(leaves, 'The plug of'),
    interrupt(stays, 'until you press Ctrl-C'),
    once.exitCode
  ])

  t.is(await leaves.exitCode, 130)
  t.is(await once.exitCode, 0)
  t.is(await stays.exitCode, 0, 'Ctrl-C is a good end where it stays until then')
  t.ok(once.text().includes('engine: docker'), 'says which engine')
  t.ok(stays.text().includes('engine: process'), 'says which engine')
  for (const { text } of [once, stays]) tellsTheStory(t, text())
  for (const { left } of [leaves, once, stays]) t.alike(await left(), [])
  t.alike(await onMachine(socket), before, 'no container, network or packet rule stays')
})

test('quickstart - Ctrl-C in its middle leaves nothing', TIMEOUT, async (t) => {
  const socket = await dockerSocket()
  const before = await onMachine(socket)
  const runs = await Promise.all([
    start(t, ['--engine', 'process']),
    start(t, ['--engine', 'docker'], { DOCKER_HOST: `unix://${socket}` })
  ])
  const moments = ['house-1 made mesh', 'The line to the utility is cut']
  await Promise.all(runs.map((run, i) => interrupt(run, moments[i] as string)))
  for (const { exitCode, text, left } of runs) {
    t.is(await exitCode, 130)
    t.ok(text().includes('quickstart: interrupted'))
    t.alike(await left(), [])
  }
  t.alike(await onMachine(socket), before)
})

test('quickstart - without Docker it takes processes and says why; asked for Docker it fails', async (t) => {
  const nowhere = { DOCKER_HOST: `unix://${join(tmpdir(), 'no-docker-here.sock')}` }
  const free = await start(t, [], nowhere)
  await waitUntil(() => free.text().includes('engine: process (no Docker here: '), 30_000)
  free.child.kill('SIGTERM')
  t.is(await free.exitCode, 130)
  t.alike(await free.left(), [])

  const bound = await start(t, ['--engine', 'docker'], nowhere)
  t.is(await bound.exitCode, 1)
  t.ok(
    bound.text().startsWith('brume: edge computing without a server\nquickstart: '),
    bound.text()
  )
  t.alike(await bound.left(), [])
})

test('quickstart - an option it does not know is refused before anything starts', async (t) => {
  const { text, exitCode } = await start(t, ['--twice'])
  t.is(await exitCode, 1)
  t.ok(text().includes('next: npm run quickstart -- [--once]'))
})

function tellsTheStory(t: Assert, text: string): void {
  const chapters = text.split(/\n\d {2}(?=[A-Z\w])/)
  const of = (title: RegExp): string => chapters.find((chapter) => title.test(chapter)) ?? ''
  const seqs = (chapter: string): number[] =>
    [...chapter.matchAll(/^ *#(\d+) {2}\d houses?/gm)].map((match) => Number(match[1]))

  const seen = of(/^Only results leave/)
  t.ok(/#\d+ {2}2 houses .*▆ +shedding/.test(seen), 'the utility sees the street shed load')
  const cut = of(/^The line to the utility is cut/)
  t.ok(/shedding; the utility is away, \d+ kept/.test(cut), 'the street goes on without it')
  t.is(seqs(cut).length, 0)
  const mended = of(/^The line is mended/)
  t.ok((mended.match(/\d s late$/gm) ?? []).length >= 3, 'what it missed comes late')
  const all = [...seqs(seen), ...seqs(mended)]
  t.alike(
    all,
    all.map((_, i) => i + 1)
  )
  t.ok(/#1 to #\d+, none is missing/.test(mended))

  const away = /The plug of (\S+) is pulled/.exec(text)?.[1]
  const moved = /the aggregator runs on (\S+) now/.exec(text)?.[1]
  t.ok(away && moved && moved !== away, `the aggregator moved from ${away} to ${moved}`)
  t.ok(text.includes(`${away} is alive again, and its house is counted`))
  t.ok(text.includes(`the aggregator stays on ${moved}, and runs once`))
  const dirs = [...text.matchAll(/ --data (\S+)/g)].map((match) => match[1] as string)
  t.ok(dirs.length > 8)
  for (const dir of dirs) t.absent(existsSync(dir), 'its data is gone')
}

/** Twice: a second Ctrl-C must not end the cleaning up. */
async function interrupt({ child, text }: Run, moment: string): Promise<void> {
  await waitUntil(() => text().includes(moment) || child.exitCode !== null, 150_000)
  child.kill('SIGINT')
  child.kill('SIGINT')
}

interface Run {
  child: ChildProcess
  /** Both outputs so far. */
  text: () => string
  exitCode: Promise<number>
  /** Files it left, and processes that name its directory. */
  left: () => Promise<string[]>
}

async function start(t: Assert, args: string[], env: Record<string, string> = {}): Promise<Run> {
  // Its own place for temporary files: what is left there is its.
  const dir = await mkdtemp(join(tmpdir(), 'brume-qs-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  await builtCli()
  const child = spawn(process.execPath, [builtFile('apps/quickstart/main.js'), ...args], {
    cwd: ROOT,
    env: { ...process.env, TMPDIR: dir, ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  t.teardown(() => child.kill('SIGTERM'), { order: -1 })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  }
  const exitCode = new Promise<number>((resolve) =>
    child.once('close', (code) => {
      if (code !== 0 && code !== 130) t.comment(text)
      resolve(code ?? -1)
    })
  )
  return {
    child,
    text: () => text,
    exitCode,
    left: async () => [...(await readdir(dir)), ...(await processesNaming(dir))]
  }
}

/** Containers and networks of the engine, and what names in containers take of this machine. */
async function onMachine(socketPath: string): Promise<string[]> {
  const lists = await Promise.all(
    ['/containers/json?all=1', '/networks'].map((path) => dockerApi(socketPath, 'GET', path))
  )
  const said = await Promise.all([
    run('iptables-save'),
    run('ip', ['-o', 'addr', 'show', 'dev', 'lo'])
  ])
  const lines = said.flatMap(({ stdout }) => stdout.split('\n'))
  return [
    ...lists.flatMap(({ body }) => (body as { Id: string }[]).map(({ Id }) => Id)),
    ...lines.filter((line) => line.includes('BRUME') || line.includes('10.214.'))
  ].sort()
}

async function processesNaming(dir: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const lines = await Promise.all(
    pids.map(async (pid) => {
      const read = (file: string): Promise<string> =>
        readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => '')
      return `${await read('cmdline')} ${await read('environ')}`.includes(dir)
        ? `process ${pid}`
        : ''
    })
  )
  return lines.filter((line) => line !== '')
}
