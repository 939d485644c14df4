/** What a simulation is about: what people do in it, how long it takes to settle, and what must hold. */
import type { Random } from '../../soak/random.ts'
import type { Host } from './host.ts'
import { settledRollouts } from './invariants/rollouts.ts'
import { OPERATIONS } from './operations/index.ts'
import type { Operation } from './operations/operation.ts'
import { deployAll, rollouts } from './operations/rollouts.ts'
import { loseLeader, storyOf } from './leader-loss.ts'
import type { World } from './world.ts'

export interface Theme {
  operations: Operation[]
  /** Before anything befalls it; what it asks for is waited for. */
  begin: ((world: World, host: Host, random: Random) => void) | null
  /** Chance that a step is a fault, but for the first, which is one. */
  faults: number
  /** From a heal, or the last change, until all must hold, in virtual ms. */
  settleMs: number
  /** Of each connected part, once it is calm, beside what all must hold. */
  complaints: ((part: Host[]) => string[]) | null
}

/** A theme whose worlds are told, not drawn. */
export interface Tale {
  /** Seeds with the same of this are the same world until something in it says otherwise. */
  drawnFrom(seed: number): number
  live(world: World, seed: number, healMs: number[]): Promise<void>
}

export const TALES = { leader: { drawnFrom: storyOf, live: loseLeader } } satisfies Record<
  string,
  Tale
>

export const THEMES = {
  mesh: { operations: OPERATIONS, begin: null, faults: 0.3, settleMs: 45_000, complaints: null },
  rollouts: {
    operations: rollouts,
    begin: deployAll,
    faults: 0.5,
    // Four slots, one after the other, that take eight seconds each, and back again.
    settleMs: 240_000,
    complaints: settledRollouts
  }
} satisfies Record<string, Theme>

export type ThemeName = keyof typeof THEMES | keyof typeof TALES
