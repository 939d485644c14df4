/** The view as apply handlers see it, in memory, and contexts of members to apply ops in. */
import type { ApplyContext, ViewBatch } from '../../core/state/apply.ts'
import { emptyState, nextState } from '../../core/state/read.ts'
import { Records } from '../../core/state/sorted.ts'
import type { State } from '../../core/state/state.ts'
import { applyOp, decodeOp, type Op } from '../../core/state/index.ts'
import { keys } from '../../core/state/keys.ts'
import { writerKeyOf } from '../../core/writer-key.ts'
import type { NodeRecord } from '../../core/state/state.ts'

export class MemoryView implements ViewBatch {
  readonly entries = new Map<string, string>()

  async get<T>(key: string): Promise<T | null> {
    const text = this.entries.get(key)
    return text === undefined ? null : (JSON.parse(text) as T)
  }

  async put(key: string, value: unknown): Promise<void> {
    this.entries.set(key, JSON.stringify(value))
  }

  async del(key: string): Promise<void> {
    this.entries.delete(key)
  }

  async list<T>(prefix: string): Promise<{ key: string; value: T }[]> {
    return this.#sorted()
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, text]) => ({ key, value: JSON.parse(text) as T }))
  }

  /** Equal strings are equal views. */
  dump(): string {
    return JSON.stringify(this.#sorted())
  }

  state(): Promise<State> {
    const records = new Records()
    for (const [key, text] of this.entries) records.set(key, JSON.parse(text))
    return Promise.resolve(nextState(emptyState(), records, this.entries.keys()))
  }

  #sorted(): [string, string][] {
    return [...this.entries].sort(([a], [b]) => (a < b ? -1 : 1))
  }
}

export interface Order {
  view: MemoryView
  /** Writer keys of the indexers, hex. */
  confirming: string[]
  /** Applies a block as the oplog does; null or why it was refused. */
  apply(writer: Buffer, block: Buffer | Op, id?: string): Promise<string | null>
}

/** One order of ops over an empty view. `meshKey` is the first writer's. */
export function order(meshKey: Buffer): Order {
  const view = new MemoryView()
  const lengths = new Map<string, number>()
  const confirming = [meshKey.toString('hex')]
  return {
    view,
    confirming,
    async apply(writer, block, id) {
      const from = writer.toString('hex').slice(0, 8)
      const length = (lengths.get(from) ?? 0) + 1
      lengths.set(from, length)
      const op = id ?? `${from}.${length}`
      const bytes = Buffer.isBuffer(block) ? block : Buffer.from(JSON.stringify(block))
      const decoded = decodeOp(bytes)
      if (typeof decoded === 'string') return decoded
      const node = await view.get<string>(keys.writer(writer))
      const author = node === null ? null : await view.get<NodeRecord>(keys.node(node))
      const addWriter = async (): Promise<void> => {}
      const format = (await view.get<number>(keys.format)) ?? 1
      const context: ApplyContext = {
        view,
        meshKey,
        writer,
        author,
        op,
        format,
        addWriter,
        indexers: {
          confirming,
          coming: [],
          add: async (nodeKey) => void confirming.push(writerKeyOf(nodeKey).toString('hex')),
          remove: async (key) => void confirming.splice(confirming.indexOf(key.toString('hex')), 1)
        }
      }
      return applyOp(decoded, context)
    }
  }
}
