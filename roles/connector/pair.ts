/** Two streams, each the other's other end. One that does not end well is a failure of the other. */
import { Duplex } from 'node:stream'

export function pair(): [Duplex, Duplex] {
  const one: Side = new Side(() => other)
  const other: Side = new Side(() => one)
  return [one, other]
}

class Side extends Duplex {
  readonly #other: () => Side
  /** Lets the other side go on writing. */
  #wake: (() => void) | null = null

  constructor(other: () => Side) {
    super()
    this.#other = other
  }

  override _read(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const other = this.#other()
    if (other.destroyed) return done(new Error('the other end is gone'))
    if (other.push(chunk)) done()
    else other.#wake = done
  }

  override _final(done: () => void): void {
    const other = this.#other()
    if (!other.destroyed) other.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this._read()
    const hasEnded = this.readableEnded && this.writableFinished
    if (!hasEnded) this.#other().destroy(new Error('the other end was reset'))
    done(error)
  }
}
