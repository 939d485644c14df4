/**
 * The programs at both ends of what the bench `tunnel` measures, each a process of its own: what is
 * asked is JSON in the first argument, what came of it JSON on stdout. A connection says in its first
 * byte what it wants of who serves: as many bytes as it takes, or its own back.
 */
import { once } from 'node:events'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import SecretStream from '@hyperswarm/secret-stream'
import UDX from 'udx-native'
import { createClient, withQuery } from '../apps/client.ts'

/** A UDX stream between two sockets, which know each other's address beforehand. */
export interface UdxWay {
  port: number
  /** By Noise, as HyperDHT does it. */
  isEncrypted: boolean
  to: { host: string; port: number }
}

export type Via =
  | { kind: 'tcp'; host: string; port: number }
  | { kind: 'flow'; dataDir: string; ref: string; port: number }
  | ({ kind: 'udx' } & UdxWay)

export type Task =
  | { do: 'serve'; port: number }
  /** One stream. */
  | { do: 'serve-udx'; way: UdxWay }
  /** One connection to `listen` over a UDX stream, and one of it to `connect` at this host. */
  | { do: 'pipe'; way: UdxWay; ends: { listen: number } | { connect: number } }
  /** What arrives, its rate in `ms` after it got going. */
  | { do: 'rate'; via: Via; ms: number }
  /** Round trips of a few bytes, ms each. */
  | { do: 'echo'; via: Via; times: number }
  /** From asking for a connection until the first byte came back over it, ms each, one by one. */
  | { do: 'open'; via: Via; times: number }
  /** So many at once, for `ms`: how many failed, and how the first did. Says `open` once all are. */
  | { do: 'many'; via: Via; flows: number; ms: number }

export interface Arrived {
  mbitPerS: number
  /** From the first on. */
  bytes: number
}

export interface Many {
  errors: number
  first: string | null
}

const SOURCE = 's'
const ECHO = 'e'
const CHUNK = Buffer.alloc(64 * 1024, 'brume')
const WARM_MS = 1_500
const WARM_TIMES = 20
const PING = Buffer.alloc(64, 'p')
const EVERY_MS = 1_000
const MESSAGE_BYTES = 1024
const LATE_MS = 30_000

const task = JSON.parse(process.argv[2] ?? '') as Task
switch (task.do) {
  case 'serve':
    net
      .createServer({ noDelay: true, allowHalfOpen: true }, serve)
      .listen({ port: task.port, host: '0.0.0.0', backlog: 2_000 })
    break
  case 'serve-udx':
    serve(udx(task.way, 2, 1))
    break
  case 'pipe':
    await pipe(task.way, task.ends)
    break
  case 'rate':
    tell(await rate(task.via, task.ms))
    break
  case 'echo':
    tell(await echo(task.via, task.times))
    break
  case 'open':
    tell(await open(task.via, task.times))
    break
  case 'many':
    tell(await many(task.via, task.flows, task.ms))
    break
}

/** Streams may be left in the middle: with the process they end. */
function tell(result: unknown): void {
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0))
}

function serve(stream: Duplex): void {
  stream.on('error', () => stream.destroy())
  stream.once('data', (first: Buffer) => {
    if (first.toString('latin1', 0, 1) === SOURCE) return pour(stream)
    if (first.length > 1) stream.write(first.subarray(1))
    stream.pipe(stream)
  })
}

function pour(stream: Duplex): void {
  stream.resume()
  const more = (): void => {
    while (!stream.destroyed && stream.write(CHUNK));
  }
  stream.on('drain', more)
  more()
}

async function connect(via: Via): Promise<Duplex> {
  if (via.kind === 'udx') return udx(via, 1, 2)
  if (via.kind === 'flow') {
    const { dataDir, ref, port } = via
    return createClient(dataDir).flow(withQuery('/flows', { ref, port: String(port) }))
  }
  const socket = net.connect({ host: via.host, port: via.port, noDelay: true, allowHalfOpen: true })
  await once(socket, 'connect')
  return socket
}

/** Both ends send first: what that opens in a router is how the other one comes in. */
function udx({ port, to, isEncrypted }: UdxWay, mine: number, theirs: number): Duplex {
  const maker = new UDX()
  const socket = maker.createSocket()
  socket.bind(port, '0.0.0.0')
  void socket.send(Buffer.from('punch'), to.port, to.host)
  const stream = maker.createStream(mine)
  stream.connect(socket, theirs, to.port, to.host)
  return isEncrypted ? new SecretStream(mine < theirs, stream) : stream
}

/** For as long as both are there. */
async function pipe(way: UdxWay, ends: { listen: number } | { connect: number }): Promise<void> {
  const [socket, stream] =
    'listen' in ends
      ? [await caller(ends.listen), udx(way, 1, 2)]
      : [net.connect({ host: '127.0.0.1', port: ends.connect, noDelay: true }), udx(way, 2, 1)]
  for (const each of [socket, stream]) each.on('error', () => process.exit(0))
  socket.pipe(stream).pipe(socket)
}

async function caller(port: number): Promise<net.Socket> {
  const server = net.createServer({ noDelay: true, allowHalfOpen: true })
  server.listen({ port, host: '127.0.0.1' })
  const [socket] = (await once(server, 'connection')) as [net.Socket]
  return socket
}

async function rate(via: Via, ms: number): Promise<Arrived> {
  const stream = await connect(via)
  let bytes = 0
  stream.on('data', (chunk: Buffer) => (bytes += chunk.length))
  const failed = once(stream, 'close').then(() => Promise.reject(new Error('it ended')))
  const measured = (async () => {
    stream.write(SOURCE)
    await sleep(WARM_MS)
    const [before, from] = [bytes, performance.now()]
    await sleep(ms)
    const mbitPerS = ((bytes - before) * 8) / 1000 / (performance.now() - from)
    return { mbitPerS, bytes }
  })()
  return Promise.race([measured, failed])
}

async function echo(via: Via, times: number): Promise<number[]> {
  const stream = await connect(via)
  stream.write(ECHO)
  const samples: number[] = []
  for (let i = -WARM_TIMES; i < times; i++) {
    const from = performance.now()
    await roundTrip(stream, PING)
    if (i >= 0) samples.push(performance.now() - from)
  }
  return samples
}

async function open(via: Via, times: number): Promise<number[]> {
  const samples: number[] = []
  for (let i = times === 1 ? 0 : -WARM_TIMES; i < times; i++) {
    const from = performance.now()
    const stream = await connect(via)
    stream.write(ECHO)
    await roundTrip(stream, PING)
    if (i >= 0) samples.push(performance.now() - from)
    stream.end()
    await once(stream, 'close')
  }
  return samples
}

async function many(via: Via, flows: number, ms: number): Promise<Many> {
  const result: Many = { errors: 0, first: null }
  let up = 0
  const all = Array.from({ length: flows }, async (_, i) => {
    const message = Buffer.alloc(MESSAGE_BYTES, `flow ${i} `)
    const stream = await connect(via)
    stream.write(ECHO)
    await roundTrip(stream, message)
    if (++up === flows) process.stdout.write('open\n')
    const end = performance.now() + ms
    await sleep(Math.random() * EVERY_MS)
    while (performance.now() < end) {
      await roundTrip(stream, message)
      await sleep(EVERY_MS)
    }
    stream.end()
    await Promise.race([once(stream, 'end'), late('no end')])
  })
  for (const each of await Promise.allSettled(all)) {
    if (each.status === 'fulfilled') continue
    result.errors++
    result.first ??= String(each.reason)
  }
  return result
}

/** @throws where other bytes come back, or none. */
async function roundTrip(stream: Duplex, message: Buffer): Promise<void> {
  const chunks: Buffer[] = []
  let length = 0
  const back = new Promise<void>((resolve, reject) => {
    const done = (error?: Error): void => {
      stream.off('data', onData)
      stream.off('error', done)
      stream.off('close', onClose)
      clearTimeout(timer)
      if (error) reject(error)
      else resolve()
    }
    const onClose = (): void => done(new Error('it ended'))
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk)
      length += chunk.length
      if (length >= message.length) done()
    }
    const timer = setTimeout(() => done(new Error('nothing comes back')), LATE_MS)
    stream.on('data', onData)
    stream.once('error', done)
    stream.once('close', onClose)
  })
  stream.write(message)
  await back
  if (!Buffer.concat(chunks).equals(message)) throw new Error('other bytes came back')
}

async function late(what: string): Promise<never> {
  await sleep(LATE_MS, undefined, { ref: false })
  throw new Error(what)
}
