import test from 'brittle'
import { SimulatedClock } from 'xstate'
import { DEVICES } from '../../../roles/agent/devices.ts'
import { IMAGES } from '../../../roles/agent/images.ts'
import { keepLookout, type LookoutComponents } from '../../../roles/agent/lookout.ts'

const USB = '/dev/ttyUSB0'
const CAM = '/dev/video0'

test('lookout - told when they are asked for, and again when one comes or goes', async (t) => {
  const w = await watching([])
  await w.pass(60_000)
  t.alike(w.told, [], 'nobody asks, nobody looks')
  t.is(w.looks(), 0)
  await w.ask([USB, CAM])
  t.alike(w.told.splice(0), [{ [USB]: true, [CAM]: false }])
  await w.pass(60_000)
  t.alike(w.told, [], 'nothing new')
  t.is(w.looks(), 14, 'every ten seconds')
  w.there.add(CAM)
  await w.pass(10_000)
  t.alike(w.told.splice(0), [{ [USB]: true, [CAM]: true }])
  w.there.delete(USB)
  await w.pass(13_000)
  t.alike(w.told.splice(0), [{ [USB]: false, [CAM]: true }])
  await w.ask([CAM])
  t.alike(w.told.splice(0), [{ [CAM]: true }])
  await w.ask([])
  t.alike(w.told.splice(0), [{}])
  const looks = w.looks()
  await w.pass(60_000)
  t.is(w.looks(), looks, 'and nobody looks any more')
})

test('lookout - a device that is away for a look has not gone, an image has', async (t) => {
  const w = await watching([USB])
  t.alike(w.told.splice(0), [{ [USB]: true }])
  w.there.delete(USB)
  await w.pass(10_500)
  w.there.add(USB)
  await w.pass(60_000)
  t.alike(w.told, [])
  const images = await watching([USB], IMAGES)
  images.there.delete(USB)
  images.told.length = 0
  await images.pass(30_000)
  t.alike(images.told, [{ [USB]: false }])
})

test('lookout - asked for while it looks: looked for right after', async (t) => {
  const w = await watching([USB])
  w.told.length = 0
  w.wish([USB, CAM])
  w.wish([CAM])
  await turns()
  t.alike(w.told.at(-1), { [CAM]: false })
})

test('lookout - ended, it looks no more', async (t) => {
  const w = await watching([USB])
  const looks = w.looks()
  w.watch.end()
  await w.ask([CAM])
  await w.pass(60_000)
  t.is(w.looks(), looks)
  t.alike(w.told, [{ [USB]: true }])
})

test('lookout - there is reason to look: what came is told at once, and not looked for twice at a time', async (t) => {
  const w = await watching([CAM], IMAGES)
  t.alike(w.told.splice(0), [{ [CAM]: false }])
  w.there.add(CAM)
  w.watch.lookAgain()
  await turns()
  t.alike(w.told.splice(0), [{ [CAM]: true }])
  const looks = w.looks()
  for (let i = 0; i < 5; i++) w.watch.lookAgain()
  await turns()
  t.is(w.looks(), looks + 2, 'the one under way, and one after it')
})

test('lookout - what nobody can say is as it was, and not told before anybody could', async (t) => {
  const w = await watching([USB], IMAGES)
  t.alike(w.told.splice(0), [{ [USB]: true }])
  w.instead.answer = null
  await w.ask([CAM, USB])
  await w.pass(60_000)
  t.alike(w.told, [])
  delete w.instead.answer
  await w.pass(30_000)
  t.alike(w.told, [{ [CAM]: false, [USB]: true }])
})

test('lookout - names that objects have of themselves are names like others', async (t) => {
  const w = await watching(['__proto__', 'constructor'])
  t.is(JSON.stringify(w.told), '[{"__proto__":false,"constructor":false}]')
})

async function watching(
  first: string[],
  { everyMs, againMs }: Pick<LookoutComponents, 'everyMs' | 'againMs'> = DEVICES
) {
  const clock = new SimulatedClock()
  const there = new Set([USB])
  const told: Record<string, boolean>[] = []
  let looks = 0
  let asked = first
  const instead: { answer?: null } = {}
  const w = {
    there,
    told,
    /** Answered instead of what is there. */
    instead,
    looks: () => looks,
    watch: keepLookout({
      everyMs,
      againMs,
      asked: () => asked,
      tell: (found) => told.push(found),
      async isThere(path) {
        looks++
        return instead.answer === null ? null : there.has(path)
      },
      timers: {
        setTimeout: (fn, ms) => clock.setTimeout(fn, ms),
        clearTimeout: (timer) => clock.clearTimeout(timer as number)
      }
    }),
    async ask(paths: string[]): Promise<void> {
      w.wish(paths)
      await turns()
    },
    /** Waits for nothing. */
    wish(paths: string[]): void {
      asked = paths
      w.watch.look()
    },
    async pass(ms: number): Promise<void> {
      for (let done = 0; done < ms; done += 500) {
        clock.increment(500)
        await turns()
      }
    }
  }
  await w.ask(first)
  return w
}

async function turns(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve))
}
