import type { Random } from '../../../soak/random.ts'
import type { Host } from '../host.ts'
import type { World } from '../world.ts'

export interface Operation {
  name: string
  /** How often it is chosen, against the others. */
  weight: number
  /** Does it on one host; false where there is nothing to do it to. */
  act(world: World, host: Host, random: Random): boolean
}

export const ZONES = ['north', 'south']

/** Wall ms on the host that does it. */
export const at = (): number => Date.now()
