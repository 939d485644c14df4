import dgram from 'node:dgram'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { duplexPair, type Duplex } from 'node:stream'
import test, { type Assert } from 'brittle'
import { framed } from '../../../core/datagrams.ts'
import { join as joined } from '../../../core/flow-stream.ts'
import { silent } from '../../../core/logger.ts'
import type { State } from '../../../core/state/state.ts'
import { Loopback } from '../../../roles/connector/loopback.ts'
import { microservice } from '../../sim/worlds.ts'
import { waitUntil } from '../../helpers/wait.ts'

const CALLER = { application: 'app', microservice: 'caller' }
const OTHER = { application: 'app', microservice: 'other' }
const UDP = { container: 80, host: null, protocol: 'udp' as const }

test('loopback - each that asks has an address of its own, which leads to what it is told of', async (t) => {
  const { loopback, world } = await open(t)
  const env = await loopback.envFor(CALLER)
  t.alike(Object.keys(env), ['BRUME_SERVICE_WEB', 'BRUME_SERVICE_WEB_PORT_80'])
  const { BRUME_SERVICE_WEB: address = '' } = env
  t.is(env['BRUME_SERVICE_WEB_PORT_80'], address)
  t.is(await answerOf(address), 'app/caller to app/web:80')
  world.askers = [CALLER]
  const { BRUME_SERVICE_WEB: others = '' } = await loopback.envFor(OTHER)
  t.not(others, address)
  t.is(await answerOf(others), 'app/other to app/web:80')
  t.alike(await loopback.envFor(CALLER), env, 'another process of it is told the same')
})

test('loopback - a port of UDP has an address beside that of TCP with its number', async (t) => {
  const { loopback, world } = await open(t)
  const tcp = services({ web: [80] }).get('app/web')
  world.microservices = new Map([
    ['app/web', microservice('web', { ports: [...(tcp?.spec.ports ?? []), UDP] })]
  ])
  const env = await loopback.envFor(CALLER)
  t.is(await answerOf(env['BRUME_SERVICE_WEB'] ?? ''), 'app/caller to app/web:80')
  const socket = dgram.createSocket('udp4')
  t.teardown(() => socket.close())
  const [host, port] = (env['BRUME_SERVICE_WEB_PORT_80_UDP'] ?? '').split(':')
  socket.send('hello', Number(port), host)
  t.is(String((await once(socket, 'message'))[0]), 'app/caller to app/web:80/udp')
})

test('loopback - addresses are the same after a restart of the daemon, before its engine answers', async (t) => {
  const first = await open(t)
  const env = await first.loopback.envFor(CALLER)
  await first.loopback.close()
  const { BRUME_SERVICE_WEB: address = '' } = env
  t.is(await answerOf(address), null)
  const second = await open(t, first.dir)
  second.world.askers = null
  second.loopback.follow()
  await waitUntil(async () => (await answerOf(address)) !== null)
  second.world.askers = [CALLER]
  t.alike(await second.loopback.envFor(CALLER), env)
})

test('loopback - follows what there is to reach and who is here to ask', async (t) => {
  const { loopback, world } = await open(t)
  const { BRUME_SERVICE_WEB: address = '' } = await loopback.envFor(CALLER)
  world.askers = [CALLER]
  world.microservices = services({ web: [80, 81] })
  loopback.follow()
  const env = await loopback.envFor(CALLER)
  t.is(env['BRUME_SERVICE_WEB'], address)
  t.is(await answerOf(env['BRUME_SERVICE_WEB_PORT_81'] ?? ''), 'app/caller to app/web:81')

  world.microservices = services({})
  loopback.follow()
  await waitUntil(async () => (await answerOf(address)) === null)
  world.microservices = services({ web: [80] })
  loopback.follow()
  await waitUntil(async () => (await answerOf(address)) !== null)

  world.askers = []
  loopback.follow()
  await waitUntil(async () => (await answerOf(address)) === null)
  const again = await loopback.envFor(CALLER)
  t.is(await answerOf(again['BRUME_SERVICE_WEB'] ?? ''), 'app/caller to app/web:80')
})

test('loopback - a port that is taken is said once, and who is told anew is told of another', async (t) => {
  const first = await open(t)
  const { BRUME_SERVICE_WEB: address = '' } = await first.loopback.envFor(CALLER)
  await first.loopback.close()
  const [, port] = address.split(':')
  const squatter = net.createServer((socket) => socket.end('not it'))
  squatter.listen(Number(port), '127.0.0.1')
  await once(squatter, 'listening')
  t.teardown(() => squatter.close())

  const { loopback, world, warnings } = await open(t, first.dir)
  world.askers = [CALLER]
  loopback.follow()
  loopback.follow()
  // In turn: it is told after those two have looked.
  await loopback.envFor(OTHER)
  t.alike(warnings, [
    `port ${port} of 127.0.0.1 is taken by another program: processes of app/caller do not reach ` +
      'app/web:80 there (`brume restart app/caller` gives them another)'
  ])
  const { BRUME_SERVICE_WEB: next = '' } = await loopback.envFor(CALLER)
  t.not(next, address)
  t.is(await answerOf(next), 'app/caller to app/web:80')
})

test('loopback - a file that cannot be read is said, and written anew', async (t) => {
  const dir = await t.tmp()
  await writeFile(join(dir, 'loopback.json'), '{"app/cal')
  const { loopback, warnings } = await open(t, dir)
  const env = await loopback.envFor(CALLER)
  t.alike(warnings, ['loopback.json cannot be read: processes made before may reach nobody'])
  await loopback.close()
  const after = await open(t, dir)
  t.alike(await after.loopback.envFor(CALLER), env)
  t.alike(after.warnings, [])
})

const services = (of: Record<string, number[]>): State['microservices'] =>
  new Map(
    Object.entries(of).map(([name, ports]) => [
      `app/${name}`,
      microservice(name, {
        ports: ports.map((container) => ({ container, host: null, protocol: 'tcp' }))
      })
    ])
  )

interface World {
  microservices: State['microservices']
  askers: (typeof CALLER)[] | null
}

/** Flows of it say who asks for what, and end. */
async function open(
  t: Assert,
  at?: string
): Promise<{ loopback: Loopback; world: World; dir: string; warnings: string[] }> {
  const dir = at ?? (await t.tmp())
  const world: World = { microservices: services({ web: [80] }), askers: [] }
  const warnings: string[] = []
  const loopback = new Loopback({
    dir,
    state: () => ({ microservices: world.microservices, services: new Map() }),
    askers: () => world.askers,
    async open({ application, microservice: name }, port, from, protocol) {
      const [near, far] = duplexPair()
      const said = `${from?.application}/${from?.microservice} to ${application}/${name}:${port}`
      far.end(protocol === 'udp' ? framed(Buffer.from(`${said}/udp`)) : said)
      far.resume()
      return (client: Duplex) => joined(client, near, () => {})
    },
    log: { ...silent, warn: (_fields, sentence) => warnings.push(sentence) }
  })
  t.teardown(() => loopback.close())
  return { loopback, world, dir, warnings }
}

/** null where nobody listens. */
async function answerOf(address: string): Promise<string | null> {
  const [host = '', port] = address.split(':')
  const socket = net.connect({ host, port: Number(port) })
  socket.end()
  let said = ''
  try {
    for await (const data of socket) said += String(data)
    return said
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return null
    throw error
  }
}
