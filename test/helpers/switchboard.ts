/**
 * Links of meshes in this process without any network: every pair that is not cut apart is
 * connected, over real Noise streams, at once. For splits and heals at a word.
 */
import { EventEmitter } from 'node:events'
import SecretStream from '@hyperswarm/secret-stream'
import { Duplex } from 'streamx'
import type { Connection, Connections, SwarmEvents, SwarmOptions } from '../../core/swarm.ts'
import { toId } from '../../core/crypto.ts'

interface Seat extends EventEmitter<SwarmEvents> {
  id: string
  options: SwarmOptions
  open: boolean
}

export class Switchboard {
  readonly #seats = new Set<Seat>()
  readonly #wires = new Map<string, { a: Seat; b: Seat; end: () => void }>()
  #side: (id: string) => unknown = () => 0

  /** `openSwarm` of a mesh's components. */
  readonly open = (options: SwarmOptions): Connections => {
    const events = new EventEmitter<SwarmEvents>()
    const id = toId(options.keyPair.publicKey)
    const seat: Seat = Object.assign(events, { id, options, open: false })
    return Object.assign(seat, {
      start: () => {
        if (seat.open) return
        seat.open = true
        this.#seats.add(seat)
        this.#connect()
      },
      setMissing() {},
      want() {},
      unwant() {},
      knownNodes: () => [],
      close: async () => {
        seat.open = false
        this.#seats.delete(seat)
        for (const { a, b, end } of this.#wires.values()) if (a === seat || b === seat) end()
      }
    })
  }

  /** Cuts the links between nodes on different sides; `() => 0` heals. */
  split(side: (id: string) => unknown): void {
    this.#side = side
    for (const { a, b, end } of this.#wires.values()) if (side(a.id) !== side(b.id)) end()
    this.#connect()
  }

  heal(): void {
    this.split(() => 0)
  }

  #connect(): void {
    const seats = [...this.#seats]
    for (const [i, a] of seats.entries()) {
      for (const b of seats.slice(i + 1)) {
        const apart = this.#side(a.id) !== this.#side(b.id) || a.id === b.id
        if (!apart && !this.#wires.has(wireOf(a, b))) this.#wire(a, b)
      }
    }
  }

  #wire(a: Seat, b: Seat): void {
    const [left, right] = pipe()
    const one = new SecretStream(true, left, {
      keyPair: a.options.keyPair
    }) as unknown as Connection
    const two = new SecretStream(false, right, {
      keyPair: b.options.keyPair
    }) as unknown as Connection
    const end = (): void => {
      this.#wires.delete(wireOf(a, b))
      one.destroy()
      two.destroy()
      left.destroy()
      right.destroy()
    }
    this.#wires.set(wireOf(a, b), { a, b, end })
    for (const [stream, seat] of [
      [one, a],
      [two, b]
    ] as const) {
      stream.on('error', () => {})
      stream.once('close', () => {
        if (!this.#wires.has(wireOf(a, b))) return
        end()
        // As a swarm would: whom it lost it looks for again, not in the same breath.
        setTimeout(() => this.#connect(), 100).unref()
      })
      stream.once('connect', () => {
        if (seat.open) seat.emit('connection', stream, seat === a ? b.id : a.id)
      })
    }
  }
}

const wireOf = (a: Seat, b: Seat): string => [a.id, b.id].sort().join(' ')

function pipe(): [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex =>
    new Duplex({
      write(data: unknown, done: (error: null) => void) {
        const to = other()
        if (!to.destroying) to.push(data)
        done(null)
      },
      final(done: (error: null) => void) {
        if (!other().destroying) other().push(null)
        done(null)
      }
    })
  const left: Duplex = make(() => right)
  const right: Duplex = make(() => left)
  return [left, right]
}
