/**
 * Virtual addresses: which address of this node stands for which microservice, or slot of one. They
 * outlive the daemon, and one is given to something else as late as can be: who asked for a name
 * may hold on to what it was told.
 */
import { BrumeError } from '../../core/errors.ts'
import { slotKey } from '../../core/state/state.ts'
import { serviceKey } from './directory.ts'
import type { Target } from './names.ts'

/** The upper half of 10.214.0.0/16; in the lower half are the networks of applications. */
export const VIRTUAL_RANGE = '10.214.128.0/17'
/** Daemons that share a machine have a block each. */
export const BLOCKS = 16
const BLOCK_SIZE = 2048
/** The first is no address, the second the block's own. */
const FIRST = 2

/** The address in a block at which the daemon answers; all others of it are virtual. */
export const blockAddress = (block: number): string => addressAt(block, 1)
/** As a range: ADDRESS/BITS. */
export const blockRange = (block: number): string => `${addressAt(block, 0)}/21`

export interface SavedAddresses {
  block: number
  next: number
  /** By APP/MICROSERVICE or APP/MICROSERVICE/SLOT: the place in the block. */
  places: Record<string, number>
}

export class VirtualAddresses {
  readonly #block: number
  #next: number
  readonly #places: Map<string, number>

  constructor(block: number, saved: SavedAddresses | null) {
    this.#block = block
    this.#next = isPlace(saved?.next) ? saved.next : FIRST
    this.#places = new Map()
    // It comes from a file: who has no place of the block, or another's, is given one anew.
    const taken = new Set<number>()
    for (const [key, place] of Object.entries(saved?.places ?? {})) {
      if (!isPlace(place) || taken.has(place)) continue
      taken.add(place)
      this.#places.set(key, place)
    }
  }

  /** null where it has none. */
  known(target: Target): string | null {
    const place = this.#places.get(keyOf(target))
    return place === undefined ? null : addressAt(this.#block, place)
  }

  /** @throws BrumeError NO_ADDRESS */
  give(target: Target): string {
    const known = this.known(target)
    if (known !== null) return known
    const taken = new Set(this.#places.values())
    for (let tries = FIRST; tries < BLOCK_SIZE; tries++) {
      const place = this.#next
      this.#next = place + 1 < BLOCK_SIZE ? place + 1 : FIRST
      if (taken.has(place)) continue
      this.#places.set(keyOf(target), place)
      return addressAt(this.#block, place)
    }
    throw new BrumeError('NO_ADDRESS', `all ${BLOCK_SIZE - FIRST} virtual addresses are in use`)
  }

  targets(): Target[] {
    return [...this.#places.keys()].map(targetOf)
  }

  take(target: Target): void {
    this.#places.delete(keyOf(target))
  }

  saved(): SavedAddresses {
    return { block: this.#block, next: this.#next, places: Object.fromEntries(this.#places) }
  }
}

export const keyOf = ({ slot, ...service }: Target): string =>
  slot === null ? serviceKey(service) : slotKey({ ...service, slot })

function targetOf(key: string): Target {
  const [application = '', microservice = '', slot] = key.split('/')
  return { application, microservice, slot: slot === undefined ? null : Number(slot) }
}

const isPlace = (place: unknown): place is number =>
  Number.isInteger(place) && Number(place) >= FIRST && Number(place) < BLOCK_SIZE

function addressAt(block: number, place: number): string {
  const at = block * BLOCK_SIZE + place
  return `10.214.${128 + (at >> 8)}.${at & 255}`
}
