import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import tls from 'node:tls'
import test, { type Assert } from 'brittle'
import { createKeyPair, type KeyPair } from '../../core/crypto.ts'
import { DataPort, type DataConnection } from '../../core/data-port.ts'
import { greet, greeted } from '../../core/greeting.ts'
import { silent } from '../../core/logger.ts'
import { closeOf, waitUntil } from '../helpers/wait.ts'

test('data port - members know each other by their keys, and TLS carries what they say', async (t) => {
  const [one, two] = [await openPort(t), await openPort(t)]
  const near = await one.dial(two)
  await waitUntil(() => two.taken.length === 1)
  const far = two.taken[0] as DataConnection
  t.alike(far.key, one.keys.publicKey)
  t.alike([near.getProtocol(), far.socket.getProtocol()], ['TLSv1.3', 'TLSv1.3'])
  t.ok('name' in (near.getEphemeralKeyInfo() ?? {}), 'with a key for this time alone')
  for (const [from, to] of [
    [near, far.socket],
    [far.socket, near]
  ] as const) {
    from.write('hello')
    t.is(String((await once(to, 'data'))[0]), 'hello')
  }
})

test('data port - another key than that of who answers gets no connection', async (t) => {
  const [one, two] = [await openPort(t), await openPort(t)]
  await t.exception(() => one.dial(two, createKeyPair().publicKey))
  t.is(two.taken.length, 0)
})

test('data port - who is no member is told nothing, and hung up on once it is none any more', async (t) => {
  const members = new Set<string>()
  const allows = (key: Buffer): boolean => members.has(key.toString('hex'))
  const [one, two] = [await openPort(t), await openPort(t, allows)]
  const stranger = await knock(two)
  await t.exception(() => greet(stranger, one.keys, two.keys.publicKey))
  t.is(stranger.bytesRead, 0)
  members.add(one.keys.publicKey.toString('hex'))
  const near = await one.dial(two)
  near.resume()
  await waitUntil(() => two.taken.length === 1)
  two.port.check()
  t.absent(near.destroyed)
  members.clear()
  two.port.check()
  await closeOf(near)
})

test('data port - what is no greeting is hung up on, and nothing said to it', async (t) => {
  const { number } = await openPort(t)
  for (const bytes of [
    randomBytes(96),
    Buffer.alloc(96),
    Buffer.from('GET / HTTP/1.1\r\n'.repeat(6))
  ]) {
    const socket = await knock({ number })
    socket.write(bytes)
    await closeOf(socket)
    t.is(socket.bytesRead, 0)
  }
})

test('data port - who is silent, slow, or never goes on is hung up on after 3 s', async (t) => {
  const port = await openPort(t)
  const silentOne = await knock(port)
  const slow = await knock(port)
  const drip = setInterval(() => slow.write('x'), 100)
  t.teardown(() => clearInterval(drip))
  const half = await knock(port)
  await greet(half, createKeyPair(), port.keys.publicKey)
  const from = performance.now()
  const all = [silentOne, slow, half]
  half.resume()
  await Promise.all(all.map((socket) => closeOf(socket)))
  t.ok(performance.now() - from > 1_500, 'and not before')
  t.is(port.taken.length, 0)
})

test('data port - at most 32 greetings are under way, and then there is room again', async (t) => {
  const [one, two] = [await openPort(t), await openPort(t)]
  const waiting = await Promise.all(Array.from({ length: 32 }, () => knock(two)))
  const many = await knock(two)
  await closeOf(many)
  t.ok(waiting.every(({ destroyed }) => !destroyed))
  for (const socket of waiting) socket.destroy()
  await waitUntil(async () => {
    const socket = await one.dial(two).catch(() => null)
    return socket !== null
  })
  t.pass('a member is let in')
})

test('data port - a member that says again what another said gets no further', async (t) => {
  const port = await openPort(t)
  const tapped = await listen(t, () => {})
  const overheard = once(tapped.server, 'connection').then(([socket]) =>
    once(socket as Socket, 'data')
  )
  const member = await knock(tapped)
  greet(member, createKeyPair(), port.keys.publicKey).catch(() => {})
  const socket = await knock(port)
  socket.write((await overheard)[0] as Buffer)
  await once(socket, 'readable')
  socket.read()
  const psk = randomBytes(32)
  const secure = tls.connect({
    socket,
    ciphers: 'TLS_AES_128_GCM_SHA256:PSK',
    ALPNProtocols: ['h2'],
    pskCallback: () => ({ psk, identity: 'brume' })
  })
  const [error] = (await once(secure, 'error')) as [Error]
  t.ok(/illegal parameter|decrypt/.test(error.message), error.message)
  t.is(port.taken.length, 0)
})

test('data port - who comes between after the greeting is not believed, whatever it shows', async (t) => {
  const [one, keys] = [await openPort(t), createKeyPair()]
  const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
  })
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
  for (const shown of [
    { key: KEY, cert: CERTIFICATE },
    { ciphers: 'TLS_AES_128_GCM_SHA256:PSK', pskCallback: () => randomBytes(32) }
  ]) {
    const between = tls.createServer({ ...shown, ALPNProtocols: ['h2'] })
    const { number } = await listen(t, async (socket) => {
      await greeted(socket, keys, () => true)
      between.emit('connection', socket)
    })
    const refused = once(between, 'tlsClientError')
    await t.exception(() => one.dial({ number, keys }))
    await refused
  }
})

interface Open {
  port: DataPort
  number: number
  keys: KeyPair
  /** What others dialled. */
  taken: DataConnection[]
  dial(to: Pick<Open, 'number' | 'keys'>, key?: Buffer): ReturnType<DataPort['dial']>
}

async function openPort(t: Assert, allows = (_key: Buffer): boolean => true): Promise<Open> {
  const keys = createKeyPair()
  const taken: DataConnection[] = []
  const port = new DataPort({
    keyPair: keys,
    allows,
    onConnection: (connection) => taken.push(connection),
    log: silent
  })
  const number = await port.listen('127.0.0.1', 0)
  if (number === null) throw new Error('no port to be had')
  t.teardown(() => port.close())
  const dial: Open['dial'] = (to, key = to.keys.publicKey) =>
    port.dial({ host: '127.0.0.1', port: to.number }, key, AbortSignal.timeout(5_000))
  return { port, number, keys, taken, dial }
}

async function listen(
  t: Assert,
  onSocket: (socket: Socket) => unknown
): Promise<{ server: net.Server; number: number }> {
  const server = net.createServer((socket) => {
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    void onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { server, number: (server.address() as AddressInfo).port }
}

/** A socket of who says whatever it likes. */
async function knock({ number }: { number: number }): Promise<Socket> {
  const socket = net.connect(number, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Of nobody: `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes`. */
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0BXLPzF+sjj6GTVi
uG8XSFQ83I3oflBumzPoz9HVdIKhRANCAASMlJOGODoT4pIQgV62U7xVqzbM62vz
VNrsqYmS7pxCts700ymIL1PD2XERq2sujTusVqsK4TJU4S+O7968emN8
-----END PRIVATE KEY-----
`
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUaUaKjf8rqXsN36mX1atZSmEMvLkwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjcwMzQ3MzdaGA8yMTI2MTEwMzAzNDczN1ow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIyUk4Y4OhPi
khCBXrZTvFWrNszra/NU2uypiZLunEK2zvTTKYgvU8PZcRGray6NO6xWqwrhMlTh
L47v3rx6Y3yjUzBRMB0GA1UdDgQWBBTRx6QjfctF6wYUAfXhYjWw+VlMODAfBgNV
HSMEGDAWgBTRx6QjfctF6wYUAfXhYjWw+VlMODAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIGVOKn6fzlPML1u3QZ2Lul3Eu1cob+XOz2R7hhe7bUVZ
AiEA9XyV5j2/prDRsp1BdxlozUbj1ej9ec/cRBf3xRC0D+w=
-----END CERTIFICATE-----
`
