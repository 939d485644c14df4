import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type Assert } from 'brittle'
import type { ErrorJson, InitResult, StatusJson } from '../../apps/api.ts'
import { startBootstrapNode } from '../../core/swarm.ts'
import { builtCli, cliEnv } from '../helpers/cli.ts'
import { dockerSocket } from '../helpers/docker.ts'
import { startDockerd } from '../helpers/dockerd.ts'
import type { Output } from '../helpers/lab.ts'
import { endProcessesOf } from '../helpers/leftovers.ts'
import { waitUntil } from '../helpers/wait.ts'
import { idle, writeApp } from './apps.ts'

interface Node {
  dir: string
  brume(...args: string[]): Promise<Output>
}

test(
  'bad input - one sentence, a code, and a daemon that goes on',
  { timeout: 240_000 },
  async (t) => {
    const cli = await builtCli()
    const base = await mkdtemp(join(tmpdir(), 'brume-bad-'))
    await chmod(base, 0o755)
    t.teardown(
      async () => {
        await endProcessesOf(`${base}/`)
        await rm(base, { recursive: true, force: true })
      },
      { force: true }
    )
    const dht = await startBootstrapNode('127.0.0.1')
    t.teardown(() => dht.close(), { order: 1, force: true })

    const nodeAt = (name: string, env: NodeJS.ProcessEnv = {}, before: string[] = []): Node => {
      const dir = join(base, name)
      const [program = process.execPath, ...args] = [
        ...before,
        process.execPath,
        cli,
        '--data',
        dir
      ]
      return { dir, brume: (...more) => run(program, [...args, ...more], cliEnv(env)) }
    }
    const enter = (name: string, engine: string): string[] => [
      ...['--name', name, '--engine', engine, '--bootstrap', dht.address, '--no-names']
    ]

    const node = nodeAt('node')
    const started = await node.brume('init', ...enter('node', 'process'), '--json')
    t.is(started.code, 0, started.stderr)
    const { key } = JSON.parse(started.stdout) as InitResult
    const { pid } = await statusOf(node)
    const alive = async (t: Assert): Promise<void> => {
      t.is((await statusOf(node)).pid, pid, 'the daemon goes on')
      t.alike(JSON.parse((await node.brume('apps', '--json')).stdout), [], 'nothing half-written')
    }

    const refused = async (
      t: Assert,
      output: Output,
      sentence: RegExp,
      code = 1
    ): Promise<void> => {
      t.is(output.code, code, `exit code ${output.code}`)
      const [said = '', ...more] = output.stderr
        .trim()
        .split('\n')
        .filter((line) => line.startsWith('brume: ') || /^\s+at |Error:/.test(line))
      t.ok(sentence.test(said), said)
      t.alike(more, [], 'one sentence, no stack trace')
    }

    await t.test('bad input - application files', async (t) => {
      const file = async (name: string, text: string): Promise<string> => {
        const path = join(base, name)
        await writeFile(path, text)
        return path
      }
      const head =
        'apiVersion: brume/v1\nkind: Application\nmetadata: { name: bad }\nspec:\n  microservices:\n'
      const one = '    - name: web\n      image: local/node:20\n      command: [node]\n'
      const files: [string, string, RegExp][] = [
        ['malformed.yaml', `${head}    - name: [web\n`, /malformed\.yaml:7: not valid YAML/],
        [
          'types.yaml',
          `${head}${one}      replicas: many\n`,
          /types\.yaml:9: .*replicas: expected .*"many"/
        ],
        [
          'unknown.yaml',
          `${head}${one}      replica: 3\n`,
          /unknown\.yaml:9: .*`replica`, did you mean `replicas`/
        ],
        [
          'big.yaml',
          `${head}${one}#${'x'.repeat(10_000_000)}\n`,
          /big\.yaml.*(MB|MiB|kB|KiB|bytes|large|big)/
        ],
        ['empty.yaml', '', /empty\.yaml/],
        ['files.yaml', `${head}${one}      files: ./nowhere\n`, /files\.yaml.*nowhere|nowhere/]
      ]
      for (const [name, text, sentence] of files) {
        await refused(t, await node.brume('deploy', '-f', await file(name, text)), sentence)
      }
      await refused(t, await node.brume('deploy', '-f', join(base, 'no.yaml')), /no\.yaml/)
      await alive(t)
    })

    await t.test('bad input - keys', async (t) => {
      const other = nodeAt('other')
      const letters = [...(key ?? '')]
      letters[20] = letters[20] === 'y' ? 'b' : 'y'
      const typo = letters.join('')
      await refused(t, await other.brume('join', typo, ...enter('other', 'process')), /key/)
      await refused(t, await other.brume('join', 'nonsense', ...enter('other', 'process')), /key/)
      t.absent((await readdir(base)).includes('other'), 'no directory of a node that never was')
      await refused(
        t,
        await node.brume('join', key ?? '', ...enter('node', 'process')),
        /member|already|node/
      )
      await alive(t)
    })

    await t.test('bad input - data directories', async (t) => {
      const open = nodeAt('open')
      await mkdir(open.dir, { mode: 0o777 })
      await chmod(open.dir, 0o777)
      await refused(t, await open.brume('init', ...enter('open', 'process')), /open.*mode 0777/)
      t.alike(await readdir(open.dir), [], 'nothing half-written')
      await refused(t, await node.brume('daemon'), /already|runs/)
      await refused(t, await node.brume('init', ...enter('node', 'process')), /already|is node/)
      await refused(t, await nodeAt('nobody').brume('ps'), /daemon/)
      await alive(t)
    })

    await t.test('bad input - a daemon of another version', async (t) => {
      const old = nodeAt('old')
      await mkdir(old.dir, { mode: 0o700 })
      const fake = createServer((_, response) => {
        response.setHeader('brume-version', '9.0.0')
        response.end('[]')
      })
      await new Promise<void>((resolve) => fake.listen(join(old.dir, 'brume.sock'), resolve))
      await refused(t, await old.brume('ps'), /9\.0\.0/)
      fake.closeAllConnections()
      await new Promise((resolve) => fake.close(resolve))
    })

    await t.test('bad input - a host port that is taken', async (t) => {
      const taken = createTcpServer()
      await new Promise<void>((resolve) => taken.listen(0, '0.0.0.0', resolve))
      const { port } = taken.address() as AddressInfo
      const [web] = [{ name: 'web', command: ['sleep', '1000'], ports: [`${port}:80`] }]
      const file = await writeApp(base, 'taken', [{ ...web }])
      await refused(t, await node.brume('deploy', '-f', file), new RegExp(`taken/web/0.*${port}`))
      t.is((await node.brume('rm', 'taken')).code, 0)
      taken.close()
      await alive(t)
    })

    await t.test('bad input - an image nobody has, and an engine that hangs', async (t) => {
      const docker = nodeAt('docker', { DOCKER_HOST: `unix://${await dockerSocket()}` })
      t.is((await docker.brume('init', ...enter('docker', 'docker'))).code, 0)
      const image = 'local/nothing-of-that-name:1'
      const file = await writeApp(base, 'missing', [{ name: 'web', ...idle, image }])
      await refused(
        t,
        await docker.brume('deploy', '-f', file),
        /missing\/web\/0.*nothing-of-that-name/
      )
      t.is((await docker.brume('rm', 'missing')).code, 0)
      t.is((await docker.brume('down')).code, 0)

      const home = join(base, 'dockerd')
      const args = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false']
      const engine = await startDockerd(home, { args })
      t.teardown(() => engine.stop(), { order: -1, force: true })
      const frozen = nodeAt('frozen', { DOCKER_HOST: `unix://${engine.socketPath}` })
      t.is((await frozen.brume('init', ...enter('frozen', 'docker'))).code, 0)
      const dockerd = Number(await readFile(join(home, 'dockerd.pid'), 'utf8'))
      process.kill(dockerd, 'SIGSTOP')
      try {
        // An engine of which nothing is asked may hang for a minute and a quarter unseen.
        const app = await writeApp(base, 'hangs', [{ name: 'web', ...idle }])
        t.is((await frozen.brume('deploy', '-f', app, '-d')).code, 0)
        await waitUntil(async () => (await statusOf(frozen)).engine.problem !== null, 60_000)
        await refused(t, await frozen.brume('deploy', '-f', app, '--timeout', '2s'), /Docker/, 3)
        t.ok((await statusOf(frozen)).engine.problem?.includes(engine.socketPath))
      } finally {
        process.kill(dockerd, 'SIGCONT')
      }
    })

    await t.test('bad input - no engine, and one that is not for this user', async (t) => {
      const none = nodeAt('none', { DOCKER_HOST: `unix://${join(base, 'nothing.sock')}` })
      const unreachable = /Docker does not answer at .*nothing\.sock/
      await refused(t, await none.brume('init', ...enter('none', 'docker')), unreachable)
      t.absent(existsSync(none.dir), 'nothing half-written')
      const later = await none.brume('init', ...enter('none', 'auto'))
      t.is(later.code, 0, 'with auto it may come later')
      t.ok(unreachable.test(later.stderr), later.stderr)
      await waitUntil(async () => (await statusOf(none)).engine.problem !== null, 30_000)
      t.ok(
        /^Docker does not answer at .*nothing\.sock/.test(
          (await statusOf(none)).engine.problem ?? ''
        )
      )
      const app = await writeApp(base, 'nowhere', [{ name: 'web', ...idle }])
      await refused(t, await none.brume('deploy', '-f', app, '--timeout', '2s'), /nowhere/, 3)

      const home = join(base, 'guest')
      await mkdir(home)
      await run('chown', ['65534:65534', home])
      const guard = createTcpServer()
      const socket = join(base, 'guarded.sock')
      await new Promise<void>((resolve) => guard.listen(socket, resolve))
      await chmod(socket, 0o660)
      const as = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
      const guest = nodeAt('guest/data', { DOCKER_HOST: `unix://${socket}`, HOME: home }, as)
      await refused(
        t,
        await guest.brume('init', ...enter('guest', 'docker')),
        /user nobody may not use .*guarded\.sock, which belongs to group root/
      )
      guard.close()
    })
  }
)

async function statusOf(node: Node): Promise<StatusJson> {
  const { stdout } = await node.brume('status', '--json')
  const status = JSON.parse(stdout) as StatusJson | ErrorJson
  if ('error' in status) throw new Error(status.error.message)
  return status
}

function run(program: string, args: string[], env = process.env): Promise<Output> {
  return new Promise((resolve, reject) => {
    const options = { env, timeout: 100_000, killSignal: 'SIGKILL', maxBuffer: 1 << 24 } as const
    execFile(program, args, options, (error, stdout, stderr) => {
      const code: unknown = error === null ? 0 : error.code
      if (error !== null && typeof code === 'string') reject(new Error(error.message))
      else resolve({ code: typeof code === 'number' ? code : null, stdout, stderr })
    })
  })
}
