/** Waiting for a mesh to come to rest with all that must hold. */
import { isDeepStrictEqual } from 'node:util'
import { complaints } from './invariants/index.ts'
import type { Theme } from './themes.ts'
import type { World } from './world.ts'

const LOOK_EVERY_MS = 250
/** How long it must go on holding, with nothing appended: longer than the Controller puts off a move. */
export const CALM_MS = 2_000

/** Lets time pass until all holds, and goes on to hold; gives the ms until then. */
export async function settle(
  world: World,
  theme: Pick<Theme, 'settleMs' | 'complaints'>,
  calmMs = CALM_MS
): Promise<number> {
  const { time } = world
  const began = time.now
  let last: string[] = []
  while (time.now - began <= theme.settleMs && world.broken.length === 0) {
    await time.pass(LOOK_EVERY_MS)
    last = await world.whole(() => complaints(world, theme.complaints))
    if (last.length > 0) continue
    const held = time.now - began
    const before = await world.whole(() => records(world))
    await time.pass(calmMs)
    if (!isDeepStrictEqual(before, await world.whole(() => records(world)))) {
      last = ['it does not come to rest: ops are appended']
      continue
    }
    last = await world.whole(() => complaints(world, theme.complaints))
    if (last.length === 0) return held
  }
  if (world.broken.length === 0) world.say(`this does not settle in ${theme.settleMs / 1000} s`)
  world.broken.push(...last)
  return time.now - began
}

const records = (world: World): Promise<unknown[]> =>
  Promise.all(
    world.hosts
      .filter((host) => host.up && host.mesh.me?.state !== 'removed')
      .map(({ mesh }) => mesh.oplog.records())
  )
