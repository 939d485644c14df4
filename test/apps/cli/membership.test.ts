import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'brittle'
import type { InitRequest, JoinRequest } from '../../../apps/api.ts'
import { withProgress } from '../../../apps/daemon/socket.ts'
import { encodeMeshKey } from '../../../core/mesh-key.ts'
import { cli, fakeDaemon, tempDir, type WorldOptions } from './fake-daemon.ts'

const SPAWNED = { timeout: 60_000 }
const RESULT = { name: 'a', id: 'i', mesh: 'm', role: 'node', key: null, warnings: [] }
const KEY = encodeMeshKey({
  kind: 'key',
  meshId: Buffer.alloc(32, 1),
  joinSecret: Buffer.alloc(32, 2),
  encryptionCheck: Buffer.alloc(8, 3),
  bootstrap: []
})

test('init - what is typed is what is sent', async (t) => {
  let sent: InitRequest | null = null
  const dir = await fakeDaemon(t, {
    'GET /status': () => ({ pid: 1 }),
    'POST /init': async ({ json }) => {
      sent = await json<InitRequest>()
      return withProgress(async () => ({ ...RESULT, key: 'brume-k' }))
    }
  })
  const ran = await cli(
    `init --name a --label x=1 --label y=2 --engine none --peer h:1 --bootstrap b:2 --bootstrap c:3 --default-role node --data ${dir}`.split(
      ' '
    )
  )
  t.alike(sent, {
    name: 'a',
    labels: { x: '1', y: '2' },
    engine: 'none',
    peers: ['h:1'],
    bootstrap: ['b:2', 'c:3'],
    relay: true,
    names: true,
    defaultRole: 'node'
  })
  t.is(ran.code, 0)
  t.is(ran.out, 'name:  a\nid:    i\nmesh:  m\nrole:  node\nkey:   brume-k\n')
})

test('init - what cannot be is refused before a daemon is started', async (t) => {
  const dir = join(await tempDir(t), 'new')
  const refused: [string, string][] = [
    ['--name Pi_1', '--name: expected lower-case letters, digits and dashes, got "Pi_1"'],
    ['--engine podman', '--engine: expected one of auto, docker, process, none, got "podman"'],
    [
      '--default-role root',
      '--default-role: expected one of admin, operator, node, viewer, got "root"'
    ],
    ['--label zone', '--label: expected KEY=VALUE such as zone=site-a, got "zone"'],
    ['--peer x', '--peer: expected HOST:PORT such as 192.168.1.7:49737, got "x"']
  ]
  for (const [option, message] of refused) {
    const ran = await cli([...`init ${option}`.split(' '), '--data', dir])
    t.is(ran.code, 1)
    t.is(ran.err.split('\n')[0], `brume: ${message}`)
  }
  t.absent(existsSync(dir))
})

test('join - the key comes from the argument, stdin or a file', async (t) => {
  const keys: string[] = []
  const dir = await fakeDaemon(t, {
    'GET /status': () => ({ pid: 1 }),
    'POST /join': async ({ json }) => {
      keys.push((await json<JoinRequest>()).key)
      return withProgress(async () => RESULT)
    }
  })
  const file = join(dir, 'key')
  writeFileSync(file, `${KEY}\n`)
  for (const [from, input] of [
    [KEY, ''],
    ['-', `${KEY}\n`],
    [`@${file}`, '']
  ] as const) {
    t.is((await cli(['join', from, '--name', 'a', '--data', dir], { input })).code, 0)
  }
  t.alike(keys, [KEY, KEY, KEY])
})

test('join - a key with a letter lost starts nothing', async (t) => {
  const dir = join(await tempDir(t), 'new')
  for (const bad of ['nonsense', KEY.slice(0, -1), `@${dir}/none`]) {
    const ran = await cli(['join', bad, '--name', 'a', '--data', dir])
    t.is(ran.code, 1)
    t.ok(
      /^brume: (this is neither a mesh key nor an invite|cannot read the mesh key): /.test(ran.err),
      ran.err
    )
  }
  t.absent(existsSync(dir))
})

test(
  'init - starts a daemon, without telling it anything but the directory',
  SPAWNED,
  async (t) => {
    const dir = join(await tempDir(t), 'new')
    t.teardown(() => cli(['down', '--data', dir]), { order: -1 })
    const ran = await cli(['init', '--name', 'a', '--data', dir], daemon('serves'))
    t.is(ran.code, 0)
    t.ok(ran.err.startsWith('daemon started\nstarting a mesh\nwarning: w\n'), ran.err)
    t.is(statSync(dir).mode & 0o777, 0o700)
    const up = await cli(['up', '--json', '--data', dir], daemon('serves'))
    const { pid, started } = JSON.parse(up.out) as { pid: number; started: boolean }
    t.is(started, false)
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(-4)
    t.alike(argv, ['--data', dir, '--json', ''])
    const down = await cli(['down', '--data', dir])
    t.is(down.out, `stopped: daemon of ${dir}; containers go on running\n`)
    t.absent(runs(pid))
    t.is((await cli(['down', '--data', dir])).out, `does not run: daemon of ${dir}\n`)
  }
)

test('init - a refusal stops the daemon it started and leaves nothing', SPAWNED, async (t) => {
  const parent = await tempDir(t)
  const fresh = join(parent, 'a/b')
  const ran = await cli(['init', '--name', 'bad', '--data', fresh], daemon('serves'))
  t.is(ran.code, 1)
  t.ok(ran.err.includes('brume: bad is taken\n'), ran.err)
  t.alike(readdirSync(parent), [])
  const own = join(parent, 'own')
  mkdirSync(own, { mode: 0o700 })
  writeFileSync(join(own, 'mine'), '')
  t.is((await cli(['init', '--name', 'bad', '--data', own], daemon('serves'))).code, 1)
  t.alike(readdirSync(own), ['mine'], 'what was there before stays')
})

test('init - a refusal leaves a daemon that ran before alone', SPAWNED, async (t) => {
  const dir = await tempDir(t)
  t.teardown(() => cli(['down', '--data', dir]), { order: -1 })
  const up = await cli(['up', '--json', '--data', dir], daemon('serves'))
  const { pid } = JSON.parse(up.out) as { pid: number }
  t.is((await cli(['init', '--name', 'bad', '--data', dir], daemon('serves'))).code, 1)
  t.ok(runs(pid))
  t.ok(existsSync(join(dir, 'identity')))
})

test('init - Ctrl-C leaves nothing either', SPAWNED, async (t) => {
  const parent = await tempDir(t)
  const dir = join(parent, 'new')
  const ctrlC = new AbortController()
  const running = cli(['init', '--name', 'slow', '--data', dir], {
    ...daemon('serves'),
    interrupt: () => {
      // Pressed once the request is out.
      setTimeout(() => ctrlC.abort(), 100)
      return ctrlC.signal
    }
  })
  const ran = await running
  t.is(ran.code, 130)
  t.ok(ran.err.endsWith('brume: init was interrupted; nothing of it is left\n'), ran.err)
  t.alike(readdirSync(parent), [])
})

test('up - a daemon that ends at once is quoted', SPAWNED, async (t) => {
  const dir = await tempDir(t)
  const failed = await cli(['up', '--json', '--data', dir], daemon('fails'))
  t.is(failed.code, 1)
  t.is(failed.err, 'brume: no store\n  next: look\n')
  t.alike(readdirSync(dir), [])
  const crashed = await cli(['up', '--data', dir], daemon('crashes'))
  t.is(
    crashed.err,
    `brume: the daemon ended at once (exit code 134): Segmentation fault\n  next: brume daemon --data ${dir} shows why\n`
  )
  t.alike(readdirSync(dir), ['daemon.early.log'], 'what it said is kept')
})

test('up - two at once start one daemon, and both succeed', SPAWNED, async (t) => {
  const dir = await tempDir(t)
  t.teardown(() => cli(['down', '--data', dir]), { order: -1 })
  const both = await Promise.all([
    cli(['up', '--json', '--data', dir], daemon('serves')),
    cli(['up', '--json', '--data', dir], daemon('serves'))
  ])
  const answers = both.map((ran) => JSON.parse(ran.out) as { started: boolean; pid: number })
  t.is(answers.filter((a) => a.started).length, 1)
  t.is(answers[0]?.pid, answers[1]?.pid)
})

const SCRIPT = fileURLToPath(new URL('./spawned-daemon.ts', import.meta.url))

function daemon(mode: string): WorldOptions {
  const tsx = fileURLToPath(import.meta.resolve('tsx'))
  return {
    env: { PATH: process.env.PATH, MODE: mode },
    daemon: { command: [process.execPath, '--import', tsx, SCRIPT], env: {} }
  }
}

/** Not as a zombie, which is what a child of this process is until it is waited for. */
function runs(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false
  return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}
