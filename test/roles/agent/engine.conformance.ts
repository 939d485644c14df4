/** What every engine promises. `docker.test.ts` and `process.test.ts` run it on theirs. */
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import test, { type Assert } from 'brittle'
import { sentenceOf } from '../../../core/errors.ts'
import type {
  ContainerSpec,
  Engine,
  EngineContainer,
  EngineEvent,
  LogLine,
  Owner
} from '../../../roles/agent/engine.ts'
import { waitUntil } from '../../helpers/wait.ts'

export interface Subject {
  /** Opens the engine under test, as a daemon that starts does. */
  open(owner: Owner): Promise<Engine>
  /** Has `sh`; null where images mean nothing. */
  image: string | null
  /** Has `node`. */
  nodeImage: string | null
  removeVolume(place: string): Promise<void>
}

export function conformance(name: string, subjectOf: (t: Assert) => Promise<Subject>): void {
  const claim = (sentence: string, body: (world: World, t: Assert) => Promise<void>): void => {
    test(`${name} engine - ${sentence}`, { timeout: 60_000 }, async (t) => {
      await body(await worldOf(t, await subjectOf(t)), t)
    })
  }

  claim('says what it is', async ({ engine }, t) => {
    const info = await engine.info()
    t.is(info.kind, name)
    t.ok(info.version)
    t.ok(/^[a-z0-9]+$/.test(info.arch))
    t.ok(info.cpus >= 1)
    t.ok(info.memoryBytes > 1e7)
  })

  claim('create, start, list: it runs, with its ports', async ({ engine, serving }, t) => {
    const spec = serving({ ports: [{ container: 8080, host: null, protocol: 'tcp' }] })
    const id = await engine.create(spec)
    const created = await only(engine)
    t.is(created.id, id)
    t.is(created.state, 'created')
    t.is(created.startedAt, null)
    t.is(created.exitCode, null)
    t.alike(created.ports, [])

    const before = Date.now()
    await engine.start(id)
    const running = await only(engine)
    t.is(running.state, 'running')
    t.is(running.exitCode, null)
    t.ok((running.startedAt ?? 0) >= before - 1000 && (running.startedAt ?? 0) <= Date.now())
    const { application, microservice, slot, revision, image } = spec
    t.alike(pick(running), { application, microservice, slot, revision, image })
    const [port] = running.ports
    t.is(running.ports.length, 1)
    t.is(port?.container, 8080)
    t.is(port?.protocol, 'tcp')
    await waitUntil(async () => (await ask(port?.host ?? 0)) === 'served')
  })

  claim('a fixed host port is that port, and in use it is named', async (world, t) => {
    const { engine, serving } = world
    const { port, release } = await occupy()
    const spec = serving({ ports: [{ container: 8080, host: port, protocol: 'tcp' }] })
    const id = await engine.create(spec)
    const error = await refused(engine.start(id))
    t.is(error.code, 'PORT_IN_USE')
    t.ok(error.message.includes(String(port)))
    t.is((await only(engine)).state, 'created')

    await release()
    await engine.start(id)
    t.is((await only(engine)).ports[0]?.host, port)
    await waitUntil(async () => (await ask(port)) === 'served')
  })

  claim('create twice gives the same container', async ({ engine, shell }, t) => {
    const spec = shell('sleep 1000')
    const [first, second] = await Promise.all([engine.create(spec), engine.create(spec)])
    t.is(first, second)
    await engine.start(first)
    t.is(await engine.create(spec), first)
    t.is((await only(engine)).state, 'running')
    t.not(await engine.create({ ...spec, revision: 'f'.repeat(64) }), first)
    t.not(await engine.create({ ...spec, slot: 1 }), first)
    t.is((await engine.list()).length, 3)
  })

  claim('already so is success', async ({ engine, shell }, t) => {
    const id = await engine.create(shell('sleep 1000'))
    await engine.stop(id, 0)
    await engine.start(id)
    const { startedAt } = await only(engine)
    await engine.start(id)
    t.is((await only(engine)).startedAt, startedAt)
    await engine.stop(id, 0)
    await engine.stop(id, 0)
    t.is((await only(engine)).state, 'exited')
    await engine.remove(id)
    await engine.remove(id)
    await engine.stop(id, 0)
    await engine.remove('f'.repeat(id.length))
    t.alike(await engine.list(), [])
  })

  claim('a device that is not there is named, at the start', async ({ engine, shell }, t) => {
    const device = (host: string) => ({ host, container: host, permissions: 'rw' })
    const spec = shell('sleep 1000')
    const id = await engine.create({ ...spec, devices: [device('/dev/brume-there-is-none')] })
    const error = await refused(engine.start(id))
    t.is(error.code, 'DEVICE_MISSING')
    t.ok(error.message.includes('/dev/brume-there-is-none'), error.message)
    t.not((await only(engine)).state, 'running')
    await engine.remove(id)
    await engine.start(await engine.create({ ...spec, devices: [device('/dev/full')] }))
    t.is((await only(engine)).state, 'running')
  })

  claim('a volume outlives its containers, and is one slot’s own', async (world, t) => {
    const { engine, open, owner, shell } = world
    const volumes = [{ source: 'data-1', container: '/data', readOnly: false }]
    const script = 'echo line >>"$BRUME_VOLUME_DATA_1/log"; cat "$BRUME_VOLUME_DATA_1/log"'
    const linesIn = async (over: Partial<ContainerSpec>): Promise<string[]> => {
      const id = await engine.create({ ...shell(script), volumes, ...over })
      await engine.start(id)
      await until(engine, 'exited')
      const lines = await linesOf(engine, id)
      await engine.remove(id)
      return lines
    }
    t.alike(await engine.volumes(), [])
    t.alike(await linesIn({}), ['line'])
    t.alike(await linesIn({ revision: 'b'.repeat(64) }), ['line', 'line'])
    t.alike(await linesIn({ slot: 1 }), ['line'])
    await engine.clear()
    const kept = (await engine.volumes()).map(({ place: _, ...volume }) => volume)
    const volume = { application: 'app', microservice: 'ms', name: 'data-1' }
    t.alike(
      kept.sort((a, b) => a.slot - b.slot),
      [0, 1].map((slot) => ({ ...volume, slot }))
    )
    t.alike(await (await open({ ...owner, node: `n${owner.node}` })).volumes(), [])
    t.is((await (await open(owner)).volumes()).length, 2)
  })

  claim('a path of the node that is not there is named', async ({ engine, shell, files }, t) => {
    const at = (source: string) => ({ source, container: '/mine', readOnly: true })
    const spec = shell('exec sleep 1000')
    const none = join(await files({}), 'none')
    const start = async (volume: ContainerSpec['volumes'][number]): Promise<void> =>
      engine.start(await engine.create({ ...spec, volumes: [volume] }))
    const error = await refused(start(at(none)))
    t.is(error.code, 'VOLUME_MISSING')
    t.is(error.message, `${none} is not on this node`)
    for (const { id } of await engine.list()) await engine.remove(id)
    await start(at(await files({})))
    t.is((await only(engine)).state, 'running')
    t.alike(await engine.volumes(), [])
  })

  claim('what is gone cannot be started, read or used', async ({ engine, shell }, t) => {
    const id = await engine.create(shell('sleep 1000'))
    await engine.remove(id)
    t.is((await refused(engine.start(id))).code, 'ENGINE_FAILED')
    t.is((await refused(engine.logs(id, { follow: false, tail: null }))).code, 'ENGINE_FAILED')
    t.is((await refused(engine.exec(id, ['true'], { timeoutMs: 5000 }))).code, 'ENGINE_FAILED')
  })

  claim('the exit code is seen, and it starts again', async ({ engine, shell }, t) => {
    const id = await engine.create(shell('echo again; exit 7'))
    for (let round = 0; round < 2; round++) {
      await engine.start(id)
      const exited = await until(engine, 'exited')
      t.is(exited.exitCode, 7)
      t.alike(exited.ports, [])
    }
    t.alike(await linesOf(engine, id), ['again', 'again'])
  })

  claim('remove ends what runs', async ({ engine, shell }, t) => {
    const id = await engine.create(shell(`trap '' TERM; while :; do sleep 1; done`))
    await engine.start(id)
    await engine.remove(id)
    t.alike(await engine.list(), [])
  })

  claim('watch tells of start, end and removal, in order', async ({ engine, shell }, t) => {
    const { events, stop } = await watching(engine)
    const id = await engine.create(shell('exit 0'))
    await engine.start(id)
    await waitUntil(() => events.length >= 2)
    await engine.remove(id)
    await waitUntil(() => events.length >= 3)
    t.alike(
      events,
      (['started', 'died', 'removed'] as const).map((kind) => ({ kind, id }))
    )
    await stop()
    const other = await engine.create(shell('exit 0'))
    await engine.start(other)
    await until(engine, 'exited')
    t.is(events.length, 3)
  })

  claim('logs: both streams, a tail, half a line', async ({ engine, shell }, t) => {
    const id = await engine.create(shell('for i in 1 2 3 4; do echo line $i; done; printf half'))
    await engine.start(id)
    await until(engine, 'exited')
    t.alike(await linesOf(engine, id), ['line 1', 'line 2', 'line 3', 'line 4', 'half'])
    t.alike(await linesOf(engine, id, 2), ['line 4', 'half'])
    t.alike(await linesOf(engine, id, 0), [])

    const long = 'x'.repeat(50_000)
    const script = `echo to stderr >&2; i=0; while [ $i -lt 5000 ]; do printf xxxxxxxxxx; i=$((i+1)); done; echo`
    const other = await engine.create({ ...shell(script), slot: 1 })
    await engine.start(other)
    await waitUntil(async () => (await engine.list()).every(({ state }) => state === 'exited'))
    t.alike((await linesOf(engine, other)).sort(), ['to stderr', long])
  })

  claim('logs followed come as they are written and end with it', async (world, t) => {
    const { engine, shell, files } = world
    const id = await engine.create({
      ...shell('echo first; while ! [ -e /tmp/go ] && ! [ -e go ]; do sleep 0.05; done; echo last'),
      filesDir: await files({ 'x.txt': '' })
    })
    await engine.start(id)
    const log = await engine.logs(id, { follow: true, tail: null })
    const lines: string[] = []
    const ended = new Promise<void>((resolve, reject) => {
      log.on('data', ({ line }: LogLine) => lines.push(line))
      log.once('end', resolve)
      log.once('error', reject)
    })
    await waitUntil(() => lines.includes('first'))
    const { exitCode } = await engine.exec(id, ['sh', '-c', 'touch go || touch /tmp/go'], {
      timeoutMs: 10_000
    })
    t.is(exitCode, 0)
    await ended
    t.alike(lines, ['first', 'last'])
  })

  claim('a log that is let go of ends', async ({ engine, shell }, t) => {
    const id = await engine.create(shell('echo first; exec sleep 1000'))
    await engine.start(id)
    const log = await engine.logs(id, { follow: true, tail: null })
    await new Promise((resolve) => log.once('data', resolve))
    const closed = new Promise((resolve) => log.once('close', resolve))
    log.destroy()
    await closed
    t.pass()
  })

  claim('exec: exit code, output, environment, time limit', async ({ engine, shell }, t) => {
    const id = await engine.create({ ...shell('exec sleep 1000'), env: { GREETING: 'hello' } })
    await engine.start(id)
    const exec = (command: string[], timeoutMs = 10_000): ReturnType<Engine['exec']> =>
      engine.exec(id, command, { timeoutMs })

    t.alike(await exec(['sh', '-c', 'echo $GREETING; exit 3']), { exitCode: 3, output: 'hello\n' })
    t.is((await exec(['sh', '-c', 'echo oops >&2'])).output, 'oops\n')
    const missing = await exec(['no-such-command'])
    t.ok([126, 127].includes(missing.exitCode), `exit code ${missing.exitCode}`)
    t.ok(missing.output.includes('no-such-command'))

    const before = performance.now()
    t.is((await refused(exec(['sleep', '30'], 300))).code, 'EXEC_TIMEOUT')
    t.ok(performance.now() - before < 5000)
    t.is((await only(engine)).state, 'running')

    await engine.stop(id, 0)
    t.is((await refused(exec(['true']))).code, 'ENGINE_FAILED')
  })

  claim('owners on one engine neither see nor touch each other', async (world, t) => {
    const { engine, open, shell, owner } = world
    const neighbour = await open({ mesh: owner.mesh, node: `n${owner.node}` })
    const elsewhere = await open({ mesh: `m${owner.mesh}`, node: owner.node })
    const id = await engine.create(shell('exec sleep 1000'))
    const { events } = await watching(neighbour)
    await engine.start(id)

    for (const other of [neighbour, elsewhere]) {
      t.alike(await other.list(), [])
      await other.stop(id, 0)
      await other.remove(id)
      t.is((await refused(other.start(id))).code, 'ENGINE_FAILED')
      t.is((await refused(other.exec(id, ['true'], { timeoutMs: 5000 }))).code, 'ENGINE_FAILED')
      t.is((await refused(other.logs(id, { follow: false, tail: 1 }))).code, 'ENGINE_FAILED')
    }
    t.is((await only(engine)).state, 'running')

    const theirs = await neighbour.create(shell('exec sleep 1000'))
    t.not(theirs, id)
    await neighbour.start(theirs)
    await waitUntil(() => events.length > 0)
    t.alike(events, [{ kind: 'started', id: theirs }])
    await engine.remove(id)
    t.is((await only(neighbour)).state, 'running')
  })

  claim('a daemon that comes back has what it left, running', async (world, t) => {
    const { engine, open, shell, owner } = world
    const spec = shell('echo up; exec sleep 1000')
    const id = await engine.create(spec)
    await engine.start(id)
    const { startedAt } = await only(engine)
    await engine.close()

    const again = await open(owner)
    const found = await only(again)
    t.is(found.id, id)
    t.is(found.state, 'running')
    t.is(found.startedAt, startedAt)
    t.is(await again.create(spec), id)
    await waitUntil(async () => (await linesOf(again, id)).includes('up'))
    t.is((await again.exec(id, ['true'], { timeoutMs: 5000 })).exitCode, 0)
    const { events } = await watching(again)
    await again.stop(id, 0)
    await waitUntil(() => events.length > 0)
    t.alike(events, [{ kind: 'died', id }])
    await again.start(id)
    t.is((await only(again)).state, 'running')
    await again.remove(id)
    t.alike(await again.list(), [])
  })

  claim('a daemon that comes back hears how it ended', async (world, t) => {
    const { engine, open, shell, owner, files } = world
    const id = await engine.create({
      ...shell('while ! [ -e /tmp/go ] && ! [ -e go ]; do sleep 0.05; done; exit 9'),
      filesDir: await files({ 'x.txt': '' })
    })
    await engine.start(id)
    await engine.close()
    const again = await open(owner)
    const { events } = await watching(again)
    await again.exec(id, ['sh', '-c', 'touch go || touch /tmp/go'], { timeoutMs: 10_000 })
    await waitUntil(() => events.length > 0)
    t.alike(events, [{ kind: 'died', id }])
    t.is((await only(again)).exitCode, 9)
  })

  claim('a command that is not there is named', async ({ engine, shell }, t) => {
    const spec = { ...shell(''), command: ['no-such-command', 'x'] }
    const error = await refused(engine.create(spec).then((id) => engine.start(id)))
    t.is(error.code, 'COMMAND_NOT_FOUND')
    t.ok(error.message.includes('no-such-command'))
  })

  claim('environment and files reach the container', async (world, t) => {
    const { engine, shell, files, owner } = world
    const script =
      'cat greeting.txt sub/more.txt; echo $A; ' +
      'echo $BRUME_APPLICATION $BRUME_MICROSERVICE $BRUME_SLOT $BRUME_NODE'
    process.env['BRUME_TEST_SECRET'] = 'secret'
    t.teardown(() => delete process.env['BRUME_TEST_SECRET'])
    const filesDir = await files({ 'greeting.txt': 'hello\n', 'sub/more.txt': 'more\n' })
    const spec = { ...shell(`${script}; env`), env: { A: 'a value' }, filesDir }
    const id = await engine.create(spec)
    await engine.start(id)
    await until(engine, 'exited')
    const lines = await linesOf(engine, id)
    t.alike(lines.slice(0, 4), ['hello', 'more', 'a value', `app ms 0 ${owner.node}`])
    const [listed] = await engine.list()
    t.is(listed?.filesDir, engine.kind === 'docker' ? filesDir : null, 'mounted, or copied')
    t.absent(lines.some((line) => line.includes('BRUME_TEST_SECRET')))
  })

  claim('stop lets it end by itself, within its grace', async ({ engine, shell }, t) => {
    const script = `trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done`
    const id = await engine.create(shell(script))
    await engine.start(id)
    await waitUntil(async () => (await linesOf(engine, id)).includes('ready'))
    const before = performance.now()
    await engine.stop(id, 20_000)
    t.ok(performance.now() - before < 10_000)
    t.is((await only(engine)).exitCode, 5)
    t.ok((await linesOf(engine, id)).includes('bye'))
  })

  claim('stop kills after its grace', async ({ engine, shell }, t) => {
    const id = await engine.create(shell(`trap '' TERM; echo ready; while :; do sleep 0.05; done`))
    await engine.start(id)
    await waitUntil(async () => (await linesOf(engine, id)).includes('ready'))
    const before = performance.now()
    await engine.stop(id, 1000)
    const took = performance.now() - before
    t.ok(took >= 900 && took < 10_000, `${took} ms`)
    const exited = await only(engine)
    t.is(exited.state, 'exited')
    t.is(exited.exitCode, 137)
  })
}

interface World {
  owner: Owner
  engine: Engine
  /** Another one, closed with the test. */
  open: (owner: Owner) => Promise<Engine>
  shell: (script: string) => ContainerSpec
  /** Answers `served` on port 8080, or PORT where that is set. */
  serving: (fields: Partial<ContainerSpec>) => ContainerSpec
  files: (contents: Record<string, string>) => Promise<string>
}

async function worldOf(t: Assert, subject: Subject): Promise<World> {
  const unique = Math.random().toString(36).slice(2, 10).padEnd(8, '0')
  const owner = { mesh: `mesh-${unique}`, node: unique }
  const opened: { engine: Engine; owner: Owner }[] = []
  const open = async (who: Owner): Promise<Engine> => {
    const engine = await subject.open(who)
    opened.push({ engine, owner: who })
    return engine
  }
  t.teardown(async () => {
    for (const { engine, owner: who } of opened) {
      await engine.close()
      const cleaner = await subject.open(who)
      for (const { id } of await cleaner.list()) await cleaner.remove(id)
      for (const { place } of await cleaner.volumes()) await subject.removeVolume(place)
      await cleaner.close()
    }
  })
  const engine = await open(owner)
  const spec: ContainerSpec = {
    application: 'app',
    microservice: 'ms',
    slot: 0,
    revision: 'a'.repeat(64),
    image: subject.image,
    filesDir: null,
    resolver: null,
    command: [],
    env: {},
    labels: { tier: 'test', 'brume.node': 'a lie' },
    ports: [],
    devices: [],
    volumes: [],
    cpus: 0.5,
    memoryBytes: 128 * 1024 * 1024
  }
  return {
    owner,
    engine,
    open,
    shell: (script) => ({ ...spec, command: ['sh', '-c', script] }),
    serving: (fields) => ({
      ...spec,
      image: subject.nodeImage,
      command: ['node', '-e', SERVER],
      ...fields
    }),
    async files(contents) {
      const dir = await t.tmp()
      for (const [path, text] of Object.entries(contents)) {
        await mkdir(join(dir, path, '..'), { recursive: true })
        await writeFile(join(dir, path), text)
      }
      return dir
    }
  }
}

const SERVER =
  `require('http').createServer((_, response) => response.end('served'))` +
  `.listen(process.env.PORT || 8080)`

async function only(engine: Engine): Promise<EngineContainer> {
  const [container, ...others] = await engine.list()
  if (!container || others.length > 0) throw new Error(`${others.length + 1} containers, not one`)
  return container
}

async function until(engine: Engine, state: EngineContainer['state']): Promise<EngineContainer> {
  await waitUntil(async () => (await only(engine)).state === state, 20_000)
  return only(engine)
}

function pick({ application, microservice, slot, revision, image }: EngineContainer): unknown {
  return { application, microservice, slot, revision, image }
}

async function linesOf(engine: Engine, id: string, tail: number | null = null): Promise<string[]> {
  const log: Readable = await engine.logs(id, { follow: false, tail })
  const lines: string[] = []
  for await (const { line } of log as AsyncIterable<LogLine>) lines.push(line)
  return lines
}

async function watching(
  engine: Engine
): Promise<{ events: EngineEvent[]; stop: () => Promise<void> }> {
  const events: EngineEvent[] = []
  const abort = new AbortController()
  let watched: Promise<void> = Promise.resolve()
  await new Promise<void>((resolve, reject) => {
    watched = engine.watch(
      // Images come and go for others too.
      (event) => event.kind !== 'images' && events.push(event),
      abort.signal,
      resolve
    )
    watched.catch(reject)
  })
  const stop = async (): Promise<void> => {
    abort.abort()
    await watched
  }
  return { events, stop }
}

async function refused(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await promise
  } catch (error) {
    const { code } = error as { code?: string }
    return { code: code ?? 'none', message: sentenceOf(error) }
  }
  throw new Error('that was not refused')
}

/** '' while nobody answers. */
async function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    const sent = get({ host: '127.0.0.1', port, agent: false, timeout: 2000 }, (response) => {
      let text = ''
      response.on('data', (chunk) => (text += String(chunk)))
      response.once('close', () => resolve(text))
    })
    sent.once('timeout', () => sent.destroy())
    sent.once('error', () => resolve(''))
  })
}

async function occupy(): Promise<{ port: number; release: () => Promise<void> }> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve))
  const { port } = server.address() as AddressInfo
  return { port, release: () => new Promise((resolve) => server.close(() => resolve())) }
}
