import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import test, { type Assert } from 'brittle'
import dns, { type DecodedPacket, type Packet, type Question } from 'dns-packet'
import fc from 'fast-check'
import { openResolver, type Answer } from '../../../roles/connector/resolver.ts'
import { closeOf, waitUntil } from '../../helpers/wait.ts'

const HERE = '127.0.0.1'
const MANY = Array.from({ length: 60 }, (_, i) => `10.214.128.${i + 2}`)

const WORLD: Record<string, Answer> = {
  web: ['10.214.128.2', '10.214.128.3'],
  empty: [],
  many: MANY,
  nothing: 'nobody',
  secret: 'refused',
  'example.org': 'elsewhere'
}

test('resolver - addresses, over UDP and TCP, to each question that is asked', async (t) => {
  const asked: string[] = []
  const resolver = await open(t, {
    resolve: async (name, from) => {
      asked.push(`${name} from ${from}`)
      return WORLD[name.toLowerCase()] ?? 'nobody'
    }
  })
  for (const ask of [resolver.udp, resolver.tcp]) {
    const web = await ask(question('WeB'))
    t.alike(addressesOf(web), WORLD['web'])
    t.is(web.id, 7)
    t.is(web.type, 'response')
    t.alike(
      web.questions?.map(({ name, type }) => [name, type]),
      [['WeB', 'A']],
      'as it was asked'
    )
    t.ok(web.flag_rd && web.flag_ra && web.flag_aa && !web.flag_tc)
    t.ok(web.answers?.every((each) => 'ttl' in each && each.ttl === 1))
    t.alike(addressesOf(await ask(question('web', 'ANY' as 'A'))), WORLD['web'])
    for (const type of ['AAAA', 'TXT', 'SRV', 'UNKNOWN_65'] as string[] as 'A'[]) {
      const none = await ask(question('web', type))
      t.alike(
        [none.rcode, none.answers],
        ['NOERROR', []],
        `${type}: the name is there, no such record`
      )
    }
    t.alike((await ask(question('empty'))).rcode, 'NOERROR')
    t.is((await ask(question('nothing'))).rcode, 'NXDOMAIN')
    t.is((await ask(question('nothing', 'AAAA'))).rcode, 'NXDOMAIN')
    t.is((await ask(question('secret'))).rcode, 'REFUSED')
  }
  t.is(asked[0], `WeB from ${HERE}`)
})

test('resolver - where the answer cannot be found there is none, and the next one is', async (t) => {
  const resolver = await open(t, {
    resolve: async (name) => {
      if (name === 'web') return ['10.214.128.2']
      throw new Error('no address')
    }
  })
  for (const ask of [resolver.udp, resolver.tcp]) {
    t.is((await ask(question('broken'))).rcode, 'SERVFAIL')
    t.is((await ask(question('web'))).rcode, 'NOERROR')
  }
})

test('resolver - what does not fit into a packet is said so, and comes over TCP', async (t) => {
  const resolver = await open(t, {})
  const short = await resolver.udp(question('many'))
  t.ok(short.flag_tc)
  t.is(short.rcode, 'NOERROR')
  const some = addressesOf(short)
  t.ok(some.length > 20 && some.length < 32, `${some.length} of them for who asks no more`)
  t.alike(some, MANY.slice(0, some.length))
  const small = await resolver.udp(withRoom(question('many'), 600))
  t.ok(small.flag_tc)
  const whole = await resolver.udp(withRoom(question('many'), 4_096))
  t.absent(whole.flag_tc)
  t.alike(addressesOf(whole), MANY)
  const tcp = await resolver.tcp(question('many'))
  t.absent(tcp.flag_tc)
  t.alike(addressesOf(tcp), MANY)
})

test('resolver - what others know they are asked, under another number, and their answer goes back', async (t) => {
  const seen: { id: number | undefined; name: string | undefined }[] = []
  const upstream = await openUpstream(t, (message) => {
    const asked = dns.decode(message)
    seen.push({ id: asked.id, name: asked.questions?.[0]?.name })
    const answer = dns.encode({
      ...{ id: asked.id ?? 0, type: 'response', questions: asked.questions ?? [] },
      answers: [{ type: 'A', name: 'example.org', ttl: 300, data: '192.0.2.1' }]
    })
    // An answer to another question first, and one too many after.
    const wrong = dns.encode({ ...dns.decode(answer), answers: [] })
    wrong.writeUInt16BE(((asked.id ?? 0) + 1) & 0xffff)
    return [wrong, Buffer.alloc(1), answer, answer]
  })
  const resolver = await open(t, { upstream: async () => [upstream] })
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => resolver.udp({ ...question('example.org'), id: i + 1 }))
  )
  t.alike(
    answers.map(({ id }) => id),
    answers.map((_, i) => i + 1),
    'each under its own'
  )
  t.ok(answers.every((each) => addressesOf(each).join() === '192.0.2.1'))
  t.ok(new Set(seen.map(({ id }) => id)).size > 15, 'numbers are drawn')
  t.unlike(
    seen.map(({ id }) => id),
    answers.map(({ id }) => id)
  )
  t.ok(seen.every(({ name }) => name === 'example.org'))
  const tcp = await resolver.tcp(question('example.org'))
  t.alike([tcp.id, addressesOf(tcp).join()], [7, '192.0.2.1'])
})

test('resolver - a server that is silent or gone is passed over; where none answers, that is said', async (t) => {
  let heard = 0
  const silent = await openUpstream(t, () => {
    heard++
    return []
  })
  const speaks = await openUpstream(t, (message) => [answered(message)])
  const gone = await closedPort()
  const servers = [{ host: HERE, port: gone }, silent, speaks]
  const resolver = await open(t, { upstream: async () => servers })
  const none = await open(t, { upstream: async () => servers.slice(0, 2) })
  const noServers = await open(t, { upstream: async () => [] })
  const broken = await open(t, { upstream: () => Promise.reject(new Error('no file')) })
  const ask = question('example.org')
  const answers = await Promise.all(
    [resolver, none, noServers, broken].flatMap(({ udp, tcp }) => [udp(ask), tcp(ask)])
  )
  t.alike(
    answers.map(({ rcode }) => rcode),
    ['NOERROR', 'NOERROR', ...Array.from({ length: 6 }, () => 'SERVFAIL')]
  )
  t.is(heard, 4)
})

test('resolver - closed while others are asked, it ends without an answer', async (t) => {
  const heard: (() => void)[] = []
  const upstream = await openUpstream(t, (message, answer) => {
    heard.push(() => answer(answered(message)))
    return []
  })
  const resolver = await open(t, { upstream: async () => [upstream] })
  const failures: unknown[] = []
  const note = (error: unknown): void => void failures.push(error)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  const client = dgram.createSocket('udp4')
  t.teardown(() => client.close())
  client.send(dns.encode(question('example.org')), resolver.ports.udp, HERE)
  const socket = net.connect(resolver.ports.tcp, HERE)
  socket.write(dns.streamEncode(question('example.org')))
  await waitUntil(() => heard.length === 2)
  const closed = closeOf(socket)
  resolver.close()
  for (const answer of heard) answer()
  await closed
  // Its answer is under way as long as one to somebody else.
  const other = await open(t, { upstream: async () => [upstream] })
  const asking = other.udp(question('example.org'))
  await waitUntil(() => heard.length === 3)
  heard[2]?.()
  await asking
  t.alike(failures, [])
})

test('resolver - whatever comes, only a question has an answer, and the next is answered', async (t) => {
  const resolver = await open(t, {})
  const client = dgram.createSocket('udp4')
  t.teardown(() => client.close())
  const answers: Buffer[] = []
  client.on('message', (message) => answers.push(message))
  const marker = { ...question('web'), id: 0xbeef }
  const valid = dns.encode(question('web'))
  const packet = fc.oneof(
    fc.uint8Array({ maxLength: 600 }),
    // One that was a question, with some bytes changed or cut off.
    fc
      .tuple(
        fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.nat(40)
      )
      .map(([changes, cut]) => {
        const bytes = Uint8Array.from(valid)
        for (const [at, byte] of changes) bytes[at] = byte
        return bytes.subarray(0, bytes.length - cut < 0 ? 0 : bytes.length - cut)
      })
  )
  await fc.assert(
    fc.asyncProperty(packet, async (bytes) => {
      answers.length = 0
      client.send(bytes, resolver.ports.udp, HERE)
      client.send(dns.encode(marker), resolver.ports.udp, HERE)
      await waitUntil(() => answers.some((each) => each.readUInt16BE() === 0xbeef), 5_000, 0)
      const others = answers.filter((each) => each.readUInt16BE() !== 0xbeef)
      return others.length === 0 || (others.length === 1 && isQuestion(bytes))
    }),
    { numRuns: 300 }
  )
  t.pass('as ever')
  answers.length = 0
  client.send(dns.encode({ ...question('web'), type: 'response' }), resolver.ports.udp, HERE)
  client.send(dns.encode({ ...question('web'), questions: [] }), resolver.ports.udp, HERE)
  client.send(dns.encode(marker), resolver.ports.udp, HERE)
  await waitUntil(() => answers.length > 0)
  t.alike(
    answers.map((each) => each.readUInt16BE()),
    [0xbeef],
    'no answer to an answer'
  )
})

test('resolver - an answer has the question as it came, byte for byte', async (t) => {
  const resolver = await open(t, {
    resolve: async (name) => (name.includes('a') ? ['10.214.128.2'] : 'nobody')
  })
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 63 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(bytes, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(1, 28, 65, 65_280),
      fc.constantFrom(1, 3, 7, 0x8001),
      async (labels, type, klass) => {
        const asked = Buffer.concat([
          Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
          ...labels.flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]),
          Buffer.from([0, type >> 8, type & 255, klass >> 8, klass & 255])
        ])
        const answer = await resolver.udpBytes(asked)
        return answer.subarray(12, asked.length).equals(asked.subarray(12))
      }
    ),
    { numRuns: 100 }
  )
  t.pass('whatever its name, type and class')
})

test('resolver - over TCP, questions that come in pieces or at once; who sends no question is closed', async (t) => {
  const resolver = await open(t, {})
  const both = Buffer.concat([
    dns.streamEncode({ ...question('web'), id: 1 }),
    dns.streamEncode({ ...question('nothing'), id: 2 })
  ])
  const socket = net.connect({ port: resolver.ports.tcp, host: HERE, noDelay: true })
  const answers = framesOf(socket)
  for (const byte of both) {
    socket.write(Uint8Array.of(byte))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await waitUntil(() => answers.length === 2)
  socket.write(both)
  await waitUntil(() => answers.length === 4)
  t.alike(answers.map((each) => dns.decode(each).id).sort(), [1, 1, 2, 2])
  const closed = closeOf(socket)
  socket.write(Buffer.from([0, 3, 1, 2, 3]))
  await closed
  const ended = net.connect(resolver.ports.tcp, HERE)
  const last = framesOf(ended)
  ended.end(dns.streamEncode(question('web')))
  await closeOf(ended)
  t.is(last.length, 1, 'who has said all is answered still')
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 2, maxLength: 300 }), async (bytes) => {
      const client = net.connect(resolver.ports.tcp, HERE)
      client.on('error', () => {})
      const gone = closeOf(client)
      client.resume()
      client.end(bytes)
      await gone
    }),
    { numRuns: 50 }
  )
  t.is((await resolver.tcp(question('web'))).rcode, 'NOERROR')
})

test('resolver - who asks and asks and takes no answer is not read on', async (t) => {
  let asked = 0
  const resolver = await open(t, {
    resolve: async () => {
      asked++
      return MANY
    }
  })
  const socket = net.connect(resolver.ports.tcp, HERE)
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.pause()
  const sent = 50_000
  // Each answer is a kilobyte.
  const one = dns.streamEncode(question('many'))
  socket.write(Buffer.concat(Array.from({ length: sent }, () => one)))
  for (let before = -1; before !== asked;) {
    before = asked
    await later(400)
  }
  t.ok(asked > 0 && asked < sent / 2, `${asked} of ${sent}`)
  t.is((await resolver.tcp(question('web'))).rcode, 'NOERROR', 'others are served')
})

test('resolver - who sends a question too slowly is closed', async (t) => {
  const resolver = await open(t, {})
  const started = performance.now()
  const idle = net.connect(resolver.ports.tcp, HERE)
  const slow = net.connect(resolver.ports.tcp, HERE)
  for (const socket of [idle, slow]) socket.on('error', () => {})
  slow.write(Buffer.from([1]))
  const trickle = setInterval(() => slow.write(Buffer.from([0])), 1_000)
  t.teardown(() => clearInterval(trickle))
  const steady = net.connect(resolver.ports.tcp, HERE)
  t.teardown(() => steady.destroy())
  const answers = framesOf(steady)
  const asking = setInterval(() => steady.write(dns.streamEncode(question('web'))), 1_000)
  t.teardown(() => clearInterval(asking))
  await Promise.all([once(idle.resume(), 'close'), once(slow.resume(), 'close')])
  const { length } = answers
  await waitUntil(() => answers.length > length + 1)
  t.ok(performance.now() - started > 5_000, 'not at once')
})

/** What the types do not know of. */
type Decoded = DecodedPacket & { rcode: string }
type Client = (asked: Packet) => Promise<Decoded>

interface Opened {
  ports: { udp: number; tcp: number }
  udp: Client
  tcp: Client
  udpBytes: (message: Buffer) => Promise<Buffer>
  close(): void
}

interface Options {
  resolve?: (name: string, from: string) => Promise<Answer>
  upstream?: () => Promise<{ host: string; port: number }[]>
}

async function open(t: Assert, { resolve, upstream }: Options): Promise<Opened> {
  const silent = { info() {}, warn() {}, error() {}, debug() {} }
  const resolver = await openResolver({
    address: HERE,
    resolve: resolve ?? (async (name) => WORLD[name] ?? 'nobody'),
    ...(upstream && { upstream }),
    log: silent
  })
  let isOpen = true
  const close = (): void => {
    if (isOpen) resolver.close()
    isOpen = false
  }
  t.teardown(close)
  const { ports } = resolver
  const udpBytes = (message: Buffer): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const socket = dgram.createSocket('udp4')
      socket.once('message', (answer) => {
        socket.close()
        resolve(answer)
      })
      socket.once('error', reject)
      socket.send(message, ports.udp, HERE)
    })
  return {
    ports,
    close,
    udpBytes,
    udp: async (asked) => dns.decode(await udpBytes(dns.encode(asked))) as Decoded,
    async tcp(asked) {
      const socket = net.connect(ports.tcp, HERE)
      const answers = framesOf(socket)
      socket.write(dns.streamEncode(asked))
      await waitUntil(() => answers.length === 1, 20_000)
      socket.destroy()
      return dns.decode(answers[0] as Buffer) as Decoded
    }
  }
}

/** A server of others, over UDP and TCP on one port; `answer` sends one later. */
async function openUpstream(
  t: Assert,
  on: (message: Buffer, answer: (bytes: Buffer) => void) => Buffer[]
): Promise<{ host: string; port: number }> {
  const udp = dgram.createSocket('udp4')
  udp.bind(0, HERE)
  await once(udp, 'listening')
  const { port } = udp.address()
  udp.on('message', (message, from) => {
    const answer = (bytes: Buffer): void => udp.send(bytes, from.port, from.address)
    for (const each of on(message, answer)) answer(each)
  })
  const sockets = new Set<net.Socket>()
  const tcp = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    framesOf(socket, (message) => {
      const answer = (bytes: Buffer): void => {
        if (!socket.destroyed) socket.write(Buffer.concat([lengthOf(bytes), bytes]))
      }
      // There is no other question on a connection: only the answer to this one.
      const answers = on(message, answer).filter(
        (each) => each.length > 2 && each.readUInt16BE() === message.readUInt16BE()
      )
      for (const each of answers) answer(each)
    })
  })
  tcp.listen(port, HERE)
  await once(tcp, 'listening')
  t.teardown(() => {
    udp.close()
    tcp.close()
    for (const socket of sockets) socket.destroy()
  })
  return { host: HERE, port }
}

/** Messages as they come in, each after two bytes of length. */
function framesOf(socket: net.Socket, on?: (message: Buffer) => void): Buffer[] {
  const frames: Buffer[] = []
  let rest = Buffer.alloc(0)
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data])
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE()) {
      const frame = rest.subarray(2, 2 + rest.readUInt16BE())
      rest = rest.subarray(2 + frame.length)
      frames.push(frame)
      on?.(frame)
    }
  })
  return frames
}

function lengthOf(bytes: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return length
}

/** A port nobody listens on. */
async function closedPort(): Promise<number> {
  const server = net.createServer().listen(0, HERE)
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  return port
}

const later = (ms: number): Promise<string> =>
  new Promise((resolve) => setTimeout(resolve, ms, 'later'))

const question = (name: string, type: Question['type'] = 'A'): Packet => ({
  ...{ id: 7, type: 'query', flags: dns.RECURSION_DESIRED },
  questions: [{ name, type }]
})

const withRoom = (asked: Packet, bytes: number): Packet => ({
  ...asked,
  additionals: [
    {
      type: 'OPT',
      name: '.',
      udpPayloadSize: bytes,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: []
    }
  ]
})

const answered = (message: Buffer): Buffer => {
  const { id = 0, questions = [] } = dns.decode(message)
  return dns.encode({ id, type: 'response', questions })
}

const addressesOf = ({ answers = [] }: Packet): string[] =>
  answers.map((each) => (each.type === 'A' ? each.data : each.type))

function isQuestion(bytes: Uint8Array): boolean {
  const { type, questions = [] } = dns.decode(Buffer.from(bytes))
  return type === 'query' && questions.length > 0
}
