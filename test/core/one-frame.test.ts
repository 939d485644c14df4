import test from 'brittle'
import c from 'compact-encoding'
import Protomux from 'protomux'
import { Duplex } from 'node:stream'
import { gatherFrames } from '../../core/one-frame.ts'
import { waitUntil } from '../helpers/wait.ts'

test('one frame - what is said in one turn of two channels is one, and is heard in its order', async (t) => {
  const { near, far, frames } = pair()
  const heard: string[] = []
  const say = ['a', 'b'].map((protocol) => {
    const listen = far.createChannel({ protocol })
    listen?.addMessage<number>({
      encoding: c.uint,
      onmessage: (n) => void heard.push(`${protocol}${n}`)
    })
    listen?.open()
    const channel = near.createChannel({ protocol })
    const message = channel?.addMessage<number>({ encoding: c.uint, onmessage: () => {} })
    channel?.open()
    return (n: number): boolean => message?.send(n) ?? false
  })
  gatherFrames(near)
  await waitUntil(() => [...near].every((channel) => channel.opened))
  frames.length = 0
  for (let n = 0; n < 3; n++) for (const each of say) each(n)
  t.is(frames.length, 0, 'not while it goes on speaking')
  await waitUntil(() => heard.length === 6)
  t.alike(heard, ['a0', 'b0', 'a1', 'b1', 'a2', 'b2'])
  t.is(frames.length, 1)
  say[0]?.(3)
  await waitUntil(() => heard.length === 7)
  t.is(frames.length, 2, 'and the next turn another')
})

test('one frame - who sends more than the connection takes is told so', async (t) => {
  const { near, full } = pair()
  const channel = near.createChannel({ protocol: 'bytes' })
  const message = channel?.addMessage<Buffer>({ encoding: c.raw, onmessage: () => {} })
  channel?.open()
  gatherFrames(near)
  full()
  message?.send(Buffer.alloc(1024))
  await waitUntil(() => !near.drained)
  t.is(message?.send(Buffer.alloc(1024)), false)
})

/** Two ends of one connection, and what the near one wrote to it. */
function pair(): { near: Protomux; far: Protomux; frames: Buffer[]; full: () => void } {
  const frames: Buffer[] = []
  let isFull = false
  const ends = [0, 1].map((i): Duplex =>
    Object.assign(
      new Duplex({
        highWaterMark: 1,
        read() {},
        write(chunk: Buffer, _encoding, done) {
          if (i === 0) frames.push(chunk)
          ends[1 - i]?.push(chunk)
          if (!isFull) done()
        }
      }),
      { userData: null }
    )
  )
  const [near, far] = ends.map((end) => Protomux.from(end)) as [Protomux, Protomux]
  return { near, far, frames, full: () => (isFull = true) }
}
