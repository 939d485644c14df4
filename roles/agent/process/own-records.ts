/** The records of one owner in a directory that others may use too. Verbs touch no others. */
import { BrumeError } from '../../../core/errors.ts'
import type { Owner } from '../engine.ts'
import { readRecord, readRecords, type ContainerRecord } from './record.ts'

export class OwnRecords {
  readonly #dir: string
  readonly #owner: Owner

  constructor(dir: string, owner: Owner) {
    this.#dir = dir
    this.#owner = owner
  }

  async all(): Promise<ContainerRecord[]> {
    return (await readRecords(this.#dir)).filter((record) => this.has(record))
  }

  /** null if it is not there, or another owner's. */
  async read(id: string): Promise<ContainerRecord | null> {
    // What is no id is no path either.
    if (!/^[0-9a-f]{32}$/.test(id)) return null
    const record = await readRecord(this.#dir, id)
    return record && this.has(record) ? record : null
  }

  async mustRead(id: string): Promise<ContainerRecord> {
    const record = await this.read(id)
    if (record) return record
    throw new BrumeError('ENGINE_FAILED', `container ${short(id)} is not there (any more)`)
  }

  has({ owner }: ContainerRecord): boolean {
    return owner.mesh === this.#owner.mesh && owner.node === this.#owner.node
  }
}

/** As people write it. */
export function short(id: string): string {
  return id.slice(0, 12)
}
