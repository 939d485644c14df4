import test from 'brittle'
import { SimulatedClock } from 'xstate'
import { isDevice, watchDevices } from '../../../roles/agent/devices.ts'

const USB = '/dev/ttyUSB0'
const CAM = '/dev/video0'

test('devices - told when they are asked for, and again when one comes or goes', async (t) => {
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

test('devices - one that is away for a look has not gone', async (t) => {
  const w = await watching([USB])
  t.alike(w.told.splice(0), [{ [USB]: true }])
  w.there.delete(USB)
  await w.pass(10_500)
  w.there.add(USB)
  await w.pass(60_000)
  t.alike(w.told, [])
})

test('devices - asked for while it looks: looked for right after', async (t) => {
  const w = await watching([USB])
  w.told.length = 0
  w.wish([USB, CAM])
  w.wish([CAM])
  await turns()
  t.alike(w.told.at(-1), { [CAM]: false })
})

test('devices - ended, it looks no more', async (t) => {
  const w = await watching([USB])
  const looks = w.looks()
  w.watch.end()
  await w.ask([CAM])
  await w.pass(60_000)
  t.is(w.looks(), looks)
  t.alike(w.told, [{ [USB]: true }])
})

test('devices - a device file is one, and a directory of them; nothing else', async (t) => {
  t.ok(await isDevice('/dev/null'))
  t.ok(await isDevice('/dev'))
  t.absent(await isDevice('/dev/there-is-none'))
  t.absent(await isDevice(new URL(import.meta.url).pathname))
})

async function watching(first: string[]) {
  const clock = new SimulatedClock()
  const there = new Set([USB])
  const told: Record<string, boolean>[] = []
  let looks = 0
  let asked = first
  const w = {
    there,
    told,
    looks: () => looks,
    watch: watchDevices({
      asked: () => asked,
      tell: (found) => told.push(found),
      async isThere(path) {
        looks++
        return there.has(path)
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
