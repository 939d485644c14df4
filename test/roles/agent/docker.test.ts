import { chmod, chown, stat, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { userInfo } from 'node:os'
import test, { type Assert } from 'brittle'
import { skeleton, tarOf } from '../../../apps/quickstart/base-image.ts'
import type { BrumeError } from '../../../core/errors.ts'
import { openDocker } from '../../../roles/agent/docker.ts'
import { importImage } from '../../../roles/agent/docker/images.ts'
import type { ContainerSpec, EngineEvent } from '../../../roles/agent/engine.ts'
import { dockerApi } from '../../helpers/docker-api.ts'
import { BUSYBOX, NODE, dockerSocket, ensureImages } from '../../helpers/docker.ts'
import { waitUntil } from '../../helpers/wait.ts'
import { conformance } from './engine.conformance.ts'

conformance('docker', async () => {
  const socketPath = await dockerSocket()
  await ensureImages(socketPath)
  return {
    open: (owner) => openDocker(owner, { socketPath }),
    image: BUSYBOX,
    nodeImage: NODE,
    removeVolume: (place) => removeVolume(socketPath, place)
  }
})

const removeVolume = async (socketPath: string, name: string): Promise<void> => {
  await dockerApi(socketPath, 'DELETE', `/volumes/${name}`)
}

const owner = { mesh: 'mesh', node: `docker-test-${process.pid}` }

const spec: ContainerSpec = {
  application: 'app',
  microservice: 'ms',
  slot: 0,
  revision: 'c'.repeat(64),
  image: BUSYBOX,
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

test('docker engine - one that is not there is said to be, with what helps', async (t) => {
  const socketPath = join(await t.tmp(), 'docker.sock')
  const error = await refused(openDocker(owner, { socketPath }))
  t.is(error.code, 'ENGINE_UNREACHABLE')
  t.ok(error.message.includes(socketPath))
  t.ok(error.next?.includes('systemctl start docker'))
})

test('docker engine - a frozen one is given up, in every verb', async (t) => {
  const { socketPath, server } = await engineThat(t, 'answers pings only')
  const engine = await openDocker(owner, { socketPath, answerMs: 200 })
  t.teardown(() => engine.close())
  for (const verb of [
    () => engine.info(),
    () => engine.hasImage('x'),
    () => engine.create(spec),
    () => engine.list(),
    () => engine.watch(() => undefined, new AbortController().signal)
  ]) {
    t.is((await refused(verb())).code, 'ENGINE_UNREACHABLE')
  }
  t.ok(server.listening)
})

test('docker engine - a socket without permission: the group and the command', async (t) => {
  if (process.getuid?.() !== 0) return t.comment('needs root to become somebody else')
  const { socketPath } = await engineThat(t, 'answers pings only')
  await chmod(join(socketPath, '..'), 0o755)
  await chown(socketPath, 0, 4)
  await chmod(socketPath, 0o660)
  t.is((await stat(socketPath)).gid, 4)
  const error = await asNobody(() => refused(openDocker(owner, { socketPath })))
  t.is(error.code, 'ENGINE_FORBIDDEN')
  t.ok(error.message.includes('group adm'), error.message)
  t.ok(error.next?.includes('usermod -aG adm'))
})

test('docker engine - watching ends in an error when the engine goes away', async (t) => {
  const { socketPath, drop } = await engineThat(t, 'answers events too')
  const engine = await openDocker(owner, { socketPath })
  t.teardown(() => engine.close())
  let ready: () => void
  const listening = new Promise<void>((resolve) => (ready = resolve))
  const signal = new AbortController().signal
  const watching = refused(
    engine.watch(
      () => undefined,
      signal,
      () => ready()
    )
  )
  await listening
  drop()
  t.is((await watching).code, 'ENGINE_UNREACHABLE')
})

test('docker engine - an image that is not there is named', async (t) => {
  const engine = await openDocker(owner, { socketPath: await dockerSocket() })
  t.teardown(() => engine.close())
  const image = 'localhost:1/not-there:1'
  t.absent(await engine.hasImage(image))
  const error = await refused(engine.create({ ...spec, image }))
  t.is(error.code, 'IMAGE_MISSING')
  t.ok(error.message.includes(image))
  const pulled = await refused(engine.pull(image))
  t.is(pulled.code, 'IMAGE_MISSING')
  t.ok(pulled.message.includes(image))
  t.is((await refused(engine.create({ ...spec, image: null }))).code, 'IMAGE_MISSING')
})

test(
  'docker engine - images that come, are named or go are told',
  { timeout: 60_000 },
  async (t) => {
    const socketPath = await dockerSocket()
    await ensureImages(socketPath)
    const engine = await openDocker(owner, { socketPath })
    const ending = new AbortController()
    let told = 0
    const watched = new Promise<void>((resolve, reject) => {
      const onEvent = ({ kind }: EngineEvent): void => void (kind === 'images' && told++)
      engine.watch(onEvent, ending.signal, resolve).catch(reject)
    })
    t.teardown(() => {
      ending.abort()
      return engine.close()
    })
    await watched
    const name = `local/brume-docker-test-${process.pid}:1`
    const [repo, tag] = name.split(':')
    const hasChanged = async (change: () => Promise<unknown>): Promise<boolean> => {
      const before = told
      await change()
      await waitUntil(() => told > before)
      return engine.hasImage(name)
    }
    const tagged = `/images/${BUSYBOX}/tag?repo=${repo}&tag=${tag}`
    t.ok(await hasChanged(() => dockerApi(socketPath, 'POST', tagged)), 'docker tag')
    t.absent(
      await hasChanged(() => dockerApi(socketPath, 'DELETE', `/images/${name}`)),
      'docker rmi'
    )
    const imported = () => importImage(socketPath, tarOf(skeleton), name)
    t.ok(await hasChanged(imported), 'docker import')
    t.absent(await hasChanged(() => dockerApi(socketPath, 'DELETE', `/images/${name}`)))
  }
)

test('docker engine - what a container only reads it cannot write, and a volume of a stranger is none', async (t) => {
  const socketPath = await dockerSocket()
  await ensureImages(socketPath)
  const engine = await openDocker(owner, { socketPath })
  const dir = await t.tmp()
  await writeFile(join(dir, 'here'), 'x')
  const taken = 'brume-docker-app.ms.0.taken'
  await dockerApi(socketPath, 'POST', '/volumes/create', { Name: taken })
  t.teardown(async () => {
    for (const { id } of await engine.list()) await engine.remove(id)
    for (const { place } of await engine.volumes()) await removeVolume(socketPath, place)
    await removeVolume(socketPath, taken)
    await engine.close()
  })
  const volumes = [
    { source: 'data', container: '/data', readOnly: true },
    { source: dir, container: '/mine', readOnly: true }
  ]
  const id = await engine.create({ ...spec, volumes })
  await engine.start(id)
  const run = (script: string) => engine.exec(id, ['sh', '-c', script], { timeoutMs: 10_000 })
  t.is((await run('cat /mine/here')).output, 'x\n')
  t.not((await run('touch /data/x')).exitCode, 0)
  t.not((await run('touch /mine/x')).exitCode, 0)
  t.is((await run('echo $BRUME_VOLUME_DATA')).output, '/data\n')

  const wanted = [{ source: 'taken', container: '/data', readOnly: false }]
  const error = await refused(engine.create({ ...spec, slot: 0, revision: 'd', volumes: wanted }))
  t.is(error.code, 'ENGINE_FAILED')
  t.ok(error.message.startsWith(`volume ${taken} is not this slot's`), error.message)
})

test('docker engine - a name that is taken by a stranger is an error, and its container safe', async (t) => {
  const socketPath = await dockerSocket()
  await ensureImages(socketPath)
  const engine = await openDocker(owner, { socketPath })
  const name = 'brume-docker-app-ms-0-cccccc'
  const made = await dockerApi(socketPath, 'POST', `/containers/create?name=${name}`, {
    Image: BUSYBOX
  })
  t.teardown(async () => {
    await dockerApi(socketPath, 'DELETE', `/containers/${name}?force=true`)
    await engine.close()
  })
  t.is(made.status, 201)
  const error = await refused(engine.create(spec))
  t.is(error.code, 'ENGINE_FAILED')
  t.ok(error.message.includes(name))
  t.is((await dockerApi(socketPath, 'GET', `/containers/${name}/json`)).status, 200)
})

test('docker engine - what the container is made of', async (t) => {
  const socketPath = await dockerSocket()
  await ensureImages(socketPath)
  const engine = await openDocker(owner, { socketPath })
  const filesDir = await t.tmp()
  const labels = { tier: 'front', 'brume.mesh': 'a lie' }
  const devices = [{ host: '/dev/full', container: '/dev/scanner', permissions: 'rw' }]
  const limits = { cpus: 0.25, memoryBytes: 64 << 20 }
  const id = await engine.create({ ...spec, filesDir, labels, devices, ...limits })
  t.teardown(async () => {
    await engine.remove(id)
    await engine.close()
  })
  const { body } = await dockerApi(socketPath, 'GET', `/containers/${id}/json`)
  const { Config, HostConfig, Mounts } = body as {
    Config: { Labels: Record<string, string>; WorkingDir: string }
    HostConfig: {
      Memory: number
      NanoCpus: number
      RestartPolicy: { Name: string }
      LogConfig: unknown
      Devices: unknown
      Dns: string[] | null
    }
    Mounts: { Source: string; Destination: string; RW: boolean }[]
  }
  t.alike(Config.Labels, {
    tier: 'front',
    'brume.mesh': owner.mesh,
    'brume.node': owner.node,
    'brume.application': 'app',
    'brume.microservice': 'ms',
    'brume.slot': '0',
    'brume.revision': spec.revision
  })
  t.is(Config.WorkingDir, '/app')
  t.is(HostConfig.Memory, 64 << 20)
  t.is(HostConfig.NanoCpus, 250_000_000)
  t.is(HostConfig.RestartPolicy.Name, 'no')
  t.alike(HostConfig.LogConfig, {
    Type: 'json-file',
    Config: { 'max-size': '10m', 'max-file': '3' }
  })
  t.alike(HostConfig.Devices, [
    { PathOnHost: '/dev/full', PathInContainer: '/dev/scanner', CgroupPermissions: 'rw' }
  ])
  t.is(HostConfig.Dns, null, 'the machine’s own')
  const [mount] = Mounts
  t.alike([mount?.Source, mount?.Destination, mount?.RW], [filesDir, '/app', false])
})

test('docker engine - each application has a network of its own, for as long as it has containers', async (t) => {
  const socketPath = await dockerSocket()
  await ensureImages(socketPath)
  const mine = { mesh: 'mesh', node: `net-test-${process.pid}` }
  const engine = await openDocker(mine, { socketPath })
  t.teardown(async () => {
    for (const { id } of await engine.list()) await engine.remove(id)
    await engine.close()
  })
  const networks = async (): Promise<string[]> => {
    const filters = JSON.stringify({ label: [`brume.node=${mine.node}`] })
    const query = `/networks?filters=${encodeURIComponent(filters)}`
    const { body } = await dockerApi(socketPath, 'GET', query)
    return (body as { Labels: Record<string, string> }[])
      .map(({ Labels }) => Labels['brume.application'] ?? '')
      .sort()
  }
  const resolver = '10.214.128.1'
  const [one, two, other] = await Promise.all([
    engine.create({ ...spec, resolver }),
    engine.create({ ...spec, slot: 1 }),
    engine.create({ ...spec, application: 'other' })
  ])
  t.alike(await networks(), ['app', 'other'], 'made at the same time: no two of one')
  const { body } = await dockerApi(socketPath, 'GET', `/containers/${one}/json`)
  t.alike((body as { HostConfig: { Dns: string[] } }).HostConfig.Dns, [resolver])
  await Promise.all([one, two, other].map((id) => engine.start(id)))
  const subnets = (await engine.list()).map(({ application, address }) => [
    application,
    address?.split('.').slice(0, 3).join('.')
  ])
  const of = (name: string): (string | undefined)[] =>
    subnets.filter(([application]) => application === name).map(([, subnet]) => subnet)
  t.ok(of('app')[0]?.startsWith('10.214.'), JSON.stringify(subnets))
  t.is(of('app')[0], of('app')[1])
  t.not(of('app')[0], of('other')[0])

  await engine.remove(one)
  await engine.remove(other)
  t.alike(await networks(), ['app'])
  await engine.remove(two)
  t.alike(await networks(), [])
  await refused(engine.create({ ...spec, image: 'localhost:1/not-there:1' }))
  t.alike(await networks(), [], 'nor for what cannot be made')
})

test('docker engine - what an image says it listens on is known, published or not', async (t) => {
  const socketPath = await dockerSocket()
  const image = 'local/exposing:1'
  await importImage(socketPath, tarOf(skeleton), image, ['EXPOSE 5432', 'EXPOSE 53/udp'])
  const engine = await openDocker(owner, { socketPath })
  const ports = [{ container: 80, host: null, protocol: 'tcp' as const }]
  const id = await engine.create({ ...spec, image, ports, slot: 7 })
  t.teardown(async () => {
    await engine.remove(id)
    await engine.close()
    await dockerApi(socketPath, 'DELETE', `/images/${image}`)
  })
  const found = (await engine.list()).find((container) => container.id === id)
  const text = found?.exposes.map(({ container, protocol }) => `${container}/${protocol}`).sort()
  t.alike(text, ['53/udp', '5432/tcp', '80/tcp'])
})

test('docker engine - a container whose network somebody removed is made anew', async (t) => {
  const socketPath = await dockerSocket()
  await ensureImages(socketPath)
  const mine = { mesh: 'mesh', node: `gone-test-${process.pid}` }
  const engine = await openDocker(mine, { socketPath })
  t.teardown(async () => {
    for (const { id } of await engine.list()) await engine.remove(id)
    await engine.close()
  })
  const id = await engine.create(spec)
  const name = 'brume-gone-t-app'
  t.is((await dockerApi(socketPath, 'DELETE', `/networks/${name}`)).status, 204)
  t.is((await refused(engine.start(id))).code, 'ENGINE_FAILED')
  t.alike(await engine.list(), [], 'it could never start')
  const again = await engine.create(spec)
  await engine.start(again)
  t.is((await engine.list())[0]?.state, 'running')
})

async function refused(promise: Promise<unknown>): Promise<BrumeError> {
  try {
    await promise
  } catch (error) {
    return error as BrumeError
  }
  throw new Error('that was not refused')
}

/** Runs `act` with the rights of an ordinary user. */
async function asNobody<T>(act: () => Promise<T>): Promise<T> {
  const { uid, gid } = userInfo({ encoding: 'utf8' })
  const groups = process.getgroups?.() ?? []
  process.setgroups?.([])
  process.setegid?.(65534)
  process.seteuid?.(65534)
  try {
    return await act()
  } finally {
    process.seteuid?.(uid)
    process.setegid?.(gid)
    process.setgroups?.(groups)
  }
}

/** A socket that speaks just enough to be taken for Docker, and then nothing. */
async function engineThat(
  t: Assert,
  does: 'answers pings only' | 'answers events too'
): Promise<{ socketPath: string; server: Server; drop: () => void }> {
  const socketPath = join(await t.tmp(), 'docker.sock')
  const drops: (() => void)[] = []
  const server = createServer((socket) => {
    drops.push(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      const line = String(data).split('\r\n')[0] ?? ''
      if (line.includes('/_ping')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK')
      else if (does === 'answers events too' && line.includes('/events')) {
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      }
    })
  })
  const drop = (): void => drops.forEach((each) => each())
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  t.teardown(() => {
    drop()
    server.close()
  })
  return { socketPath, server, drop }
}
