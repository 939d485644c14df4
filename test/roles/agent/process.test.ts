import { mkdir, readFile, readdir, writeFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type Assert } from 'brittle'
import type { BrumeError } from '../../../core/errors.ts'
import type { ContainerSpec, Engine } from '../../../roles/agent/engine.ts'
import { openProcess } from '../../../roles/agent/process.ts'
import { findMarked, isAlive, stampOf } from '../../../roles/agent/process/identity.ts'
import {
  pathsOf,
  readRecord,
  writeRecord,
  type ContainerRecord
} from '../../../roles/agent/process/record.ts'
import { waitUntil } from '../../helpers/wait.ts'
import { conformance } from './engine.conformance.ts'

conformance('process', async (t) => {
  const dir = await t.tmp()
  return {
    open: (owner) => openProcess(owner, placesIn(dir)),
    image: null,
    nodeImage: null,
    removeVolume: (place) => rm(place, { recursive: true })
  }
})

const owner = { mesh: 'mesh', node: 'node' }
const placesIn = (dir: string) => ({ dir, volumesDir: join(dir, '.volumes') })

test('process engine - without a command it says what it needs', async (t) => {
  const { engine } = await engineIn(t)
  const error = await refused(engine.create({ ...spec, command: [] }))
  t.is(error.code, 'COMMAND_NOT_FOUND')
  t.is(error.message, 'the process engine needs `command`')
})

test('process engine - PORT, BRUME_PORT_n, and the same ports after a restart', async (t) => {
  const { engine, dir } = await engineIn(t)
  const ports: ContainerSpec['ports'] = [
    { container: 80, host: null, protocol: 'tcp' },
    { container: 53, host: null, protocol: 'udp' }
  ]
  const command = ['sh', '-c', 'echo $PORT $BRUME_PORT_80 $BRUME_PORT_53 >out; exec sleep 1000']
  const id = await engine.create({ ...spec, command, ports, env: { PORT: '80' } })
  const { app } = pathsOf(dir, id)
  const seen: string[] = []
  for (const round of [0, 1]) {
    await engine.start(id)
    await waitUntil(async () => (await readdir(app)).includes('out'))
    await waitUntil(async () => (await readFile(join(app, 'out'), 'utf8')).length > 0)
    const published = (await engine.list())[0]?.ports ?? []
    const [first, second] = published.map(({ host }) => host)
    t.is(await readFile(join(app, 'out'), 'utf8'), `${first} ${first} ${second}\n`)
    seen.push(JSON.stringify(published))
    if (round === 1) continue
    await engine.stop(id, 0)
    await rm(join(app, 'out'))
  }
  t.is(seen[0], seen[1])
})

test('process engine - what a command left behind in its group ends with it', async (t) => {
  const { engine, dir } = await engineIn(t)
  const command = ['sh', '-c', 'sleep 1000 & echo $! >left; exit 4']
  const id = await engine.create({ ...spec, command })
  await engine.start(id)
  await exitOf(engine, 4, t)
  const left = Number(await readFile(join(pathsOf(dir, id).app, 'left'), 'utf8'))
  await waitUntil(async () => (await stampOf(left)) === null)
  t.pass()
})

test('process engine - a process is not taken for one of its pid that came later', async (t) => {
  const { engine, dir } = await engineIn(t)
  const id = await engine.create(spec)
  await engine.close()
  const record = (await readRecord(dir, id)) as ContainerRecord
  const stamp = `${(await stampOf(process.pid)) ?? ''}1`
  await writeRecord(dir, { ...record, state: 'running', pid: process.pid, stamp, startedAt: 1 })

  const again = await openProcess(owner, placesIn(dir))
  t.teardown(() => again.close())
  await exitOf(again, -1, t)
  await again.stop(id, 0)
  await again.remove(id)
  t.alike(await again.list(), [])
})

test('process engine - a launcher that is killed takes its command along', async (t) => {
  const { engine, dir } = await engineIn(t)
  const command = ['sh', '-c', 'echo $$ >pid; exec sleep 1000']
  const id = await engine.create({ ...spec, command })
  await engine.start(id)
  const pidFile = join(pathsOf(dir, id).app, 'pid')
  await waitUntil(async () => (await readOrEmpty(pidFile)).endsWith('\n'))
  const pid = Number(await readFile(pidFile, 'utf8'))
  const stamp = await stampOf(pid)
  t.ok(stamp)
  process.kill((await readRecord(dir, id))?.pid as number, 'SIGKILL')
  await exitOf(engine, 137, t)
  await waitUntil(async () => !(await isAlive(pid, stamp)))
})

test('process engine - killed between the process and its record: it is found', async (t) => {
  const { engine, dir } = await engineIn(t)
  const id = await engine.create(spec)
  await engine.start(id)
  const record = (await readRecord(dir, id)) as ContainerRecord
  await engine.close()
  await writeRecord(dir, { ...record, state: 'starting', pid: null, stamp: null })

  const again = await openProcess(owner, placesIn(dir))
  t.teardown(async () => {
    await again.remove(id)
    await again.close()
  })
  t.is((await again.list())[0]?.state, 'running')
  t.is((await readRecord(dir, id))?.pid, record.pid)
  await again.stop(id, 0)
  t.is(await findMarked(pathsOf(dir, id).exit), null)
})

test('process engine - killed before the process: it never ran', async (t) => {
  const { engine, dir } = await engineIn(t)
  const id = await engine.create(spec)
  await engine.close()
  const record = (await readRecord(dir, id)) as ContainerRecord
  await writeRecord(dir, { ...record, state: 'starting' })
  const again = await openProcess(owner, placesIn(dir))
  t.teardown(() => again.close())
  t.is((await again.list())[0]?.state, 'created')
})

test('process engine - half-made directories are gone after opening, whole ones are not', async (t) => {
  const { engine, dir } = await engineIn(t)
  const id = await engine.create(spec)
  await engine.close()
  await mkdir(join(dir, '.half-999999999@never@x', 'app'), { recursive: true })
  await mkdir(join(dir, 'a'.repeat(32), 'app'), { recursive: true })
  await mkdir(join(dir, 'b'.repeat(32)))
  await writeFile(pathsOf(dir, 'b'.repeat(32)).record, '{"id":"b')
  const busy = `.half-${process.pid}@${(await stampOf(process.pid)) ?? ''}@y`
  await mkdir(join(dir, busy))

  const again = await openProcess(owner, placesIn(dir))
  t.teardown(() => again.close())
  t.alike((await readdir(dir)).sort(), [busy, id].sort())
})

test('process engine - files are a copy that may be written to', async (t) => {
  const { engine } = await engineIn(t)
  const filesDir = await t.tmp()
  await writeFile(join(filesDir, 'a'), 'first')
  const command = ['sh', '-c', 'echo second >a']
  const id = await engine.create({ ...spec, filesDir, command })
  await engine.start(id)
  await exitOf(engine, 0, t)
  t.is(await readFile(join(filesDir, 'a'), 'utf8'), 'first')
})

const spec: ContainerSpec = {
  application: 'app',
  microservice: 'ms',
  slot: 0,
  revision: 'c'.repeat(64),
  image: null,
  filesDir: null,
  resolver: null,
  command: ['sleep', '1000'],
  env: {},
  labels: {},
  ports: [],
  cpus: null,
  memoryBytes: null,
  devices: [],
  volumes: []
}

async function engineIn(t: Assert): Promise<{ engine: Engine; dir: string }> {
  const dir = await t.tmp()
  const engine = await openProcess(owner, placesIn(dir))
  t.teardown(async () => {
    for (const { id } of await engine.list()) await engine.remove(id)
    await engine.close()
  })
  return { engine, dir }
}

async function exitOf(engine: Engine, code: number, t: Assert): Promise<void> {
  await waitUntil(async () => (await engine.list())[0]?.state === 'exited')
  t.is((await engine.list())[0]?.exitCode, code)
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

async function refused(promise: Promise<unknown>): Promise<BrumeError> {
  try {
    await promise
  } catch (error) {
    return error as BrumeError
  }
  throw new Error('that was not refused')
}
