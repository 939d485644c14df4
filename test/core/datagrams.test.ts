import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import test from 'brittle'
import fc from 'fast-check'
import { Datagrams, framed, MAX_DATAGRAM_BYTES, unframed } from '../../core/datagrams.ts'
import { join } from '../../core/flow-stream.ts'
import { waitUntil } from '../helpers/wait.ts'

const bytes = (max: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength: max }).map((each) => Buffer.from(each))

test('datagrams - come out as they went in, wherever the stream is cut', async (t) => {
  const some = fc.array(fc.oneof(bytes(4), bytes(300)), { maxLength: 20 })
  const cuts = fc.array(fc.nat(), { maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(some, cuts, async (sent, at) => {
      const heard: Buffer[] = []
      const end = new Datagrams((datagram, done) => {
        heard.push(Buffer.from(datagram))
        done()
      })
      const stream = Buffer.concat(sent.map(framed))
      const places = [...at.map((place) => place % (stream.length + 1)), stream.length]
      let from = 0
      for (const to of places.sort((a, b) => a - b)) {
        end.write(stream.subarray(from, to))
        from = to
      }
      end.resume().end()
      await once(end, 'close')
      return Buffer.concat(heard.map(framed)).equals(stream) && heard.length === sent.length
    })
  )
  t.pass()
})

test('datagrams - any bytes are some datagrams and a rest, and none is lost of them', (t) => {
  fc.assert(
    fc.property(bytes(2_000), (any) => {
      const { datagrams, rest } = unframed(any)
      const isWhole = rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE()
      return Buffer.concat([...datagrams.map(framed), rest]).equals(any) && !isWhole
    })
  )
  t.pass()
})

test('datagrams - nobody reads: what is too much is lost and counted, and what waits still goes', async (t) => {
  const end = new Datagrams((_datagram, done) => done())
  let told = 0
  end.on('dropped', () => told++)
  end.receive(Buffer.alloc(MAX_DATAGRAM_BYTES + 1))
  t.is(end.dropped, 1, 'larger than any')
  for (let i = 0; i < 10; i++) end.receive(Buffer.alloc(MAX_DATAGRAM_BYTES, i))
  t.is(end.readableLength, 4 * (MAX_DATAGRAM_BYTES + 2))
  t.is(end.dropped, 7)
  t.is(told, 7)
  end.finish()
  end.receive(Buffer.alloc(1))
  const read: Buffer[] = []
  for await (const chunk of end) read.push(chunk as Buffer)
  const { datagrams } = unframed(Buffer.concat(read))
  t.alike(
    datagrams.map((each) => each[0]),
    [0, 1, 2, 3]
  )
})

test('datagrams - end well on both sides, whichever is quiet or ends first', async (t) => {
  const sink = (_datagram: Buffer, done: () => void): void => done()
  for (const [nearMs, farMs] of [
    [50, 60_000],
    [60_000, 50]
  ]) {
    const [near, far] = [new Datagrams(sink, nearMs), new Datagrams(sink, farMs)]
    const [a, b] = duplexPair()
    join(near, a)
    join(b, far)
    let over = 0
    for (const each of [near, far]) each.once('over', () => over++)
    await waitUntil(() => near.closed && far.closed)
    t.is(over, 2)
    t.absent(near.errored ?? far.errored)
  }
})

test('datagrams - either way keeps it, and one that was told to end sooner does', async (t) => {
  const end = new Datagrams((_datagram, done) => done(), 300)
  end.resume()
  const startMs = performance.now()
  const asks = setInterval(() => end.receive(Buffer.from('?')), 20)
  await waitUntil(() => performance.now() - startMs > 600)
  clearInterval(asks)
  t.absent(end.destroyed)
  const answers = setInterval(() => end.write(framed(Buffer.from('!'))), 20)
  await waitUntil(() => performance.now() - startMs > 1_200)
  clearInterval(answers)
  t.absent(end.destroyed)
  t.absent(end.readableEnded)
  end.idleAfter(20)
  await waitUntil(() => end.readableEnded)
})
