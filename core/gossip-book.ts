/** The newest gossip record of each (node, kind) that is known here, within limits of size. */
import { PREFIX_BYTES, type Wire } from './gossip-wire.ts'

export interface Entry {
  /** Id of its author. */
  node: string
  seq: number
  body: unknown
  /** Boot ms by this node's own clock; -Infinity for what was read from disk. */
  receivedAt: number
  wire: Wire
  bodyHash: Buffer
}

/** Kinds of later versions are carried on, but no author gets more than this. */
const MAX_KINDS = 16
const MAX_AUTHOR_BYTES = 512 * 1024
const MAX_TOTAL_BYTES = 16 * 1024 * 1024

export class GossipBook {
  readonly #nodes = new Map<string, Map<string, Entry>>()
  /** What may be believed, by kind. */
  readonly #kinds = new Map<string, Map<string, Entry>>()
  readonly #prefixes = new Map<string, string>()
  #bytes = 0

  get(node: string, kind: string): Entry | null {
    return this.#nodes.get(node)?.get(kind) ?? null
  }

  /** Of every node that sent one of this kind, whatever may not be believed left out. */
  believed(kind: string): ReadonlyMap<string, Entry> {
    return this.#kinds.get(kind) ?? new Map<string, Entry>()
  }

  of(node: string): Entry[] {
    return [...(this.#nodes.get(node)?.values() ?? [])]
  }

  *all(): Generator<Entry> {
    for (const kinds of this.#nodes.values()) yield* kinds.values()
  }

  /** Ids of all authors. */
  get nodes(): string[] {
    return [...this.#nodes.keys()]
  }

  /** The author whose key begins like this; null where there is none. */
  nodeOf(prefix: Buffer): string | null {
    return this.#prefixes.get(prefix.toString('hex')) ?? null
  }

  /** Whether a body of so many bytes may come in; one that replaces a larger one always may. */
  hasRoom(node: string, kind: string, bytes: number): boolean {
    const kinds = this.#nodes.get(node)
    const old = kinds?.get(kind)
    if (old === undefined && (kinds?.size ?? 0) >= MAX_KINDS) return false
    const more = bytes - (old?.wire.body.length ?? 0)
    if (more <= 0) return true
    const byAuthor = this.of(node).reduce((sum, { wire }) => sum + wire.body.length, 0)
    return byAuthor + more <= MAX_AUTHOR_BYTES && this.#bytes + more <= MAX_TOTAL_BYTES
  }

  put(entry: Entry, { believe }: { believe: boolean }): void {
    const { node, wire } = entry
    const kinds = this.#nodes.get(node) ?? new Map<string, Entry>()
    this.#nodes.set(node, kinds)
    this.#prefixes.set(prefixOf(wire.node), node)
    this.#bytes += wire.body.length - (kinds.get(wire.kind)?.wire.body.length ?? 0)
    kinds.set(wire.kind, entry)
    if (!believe) return
    const nodes = this.#kinds.get(wire.kind) ?? new Map<string, Entry>()
    this.#kinds.set(wire.kind, nodes)
    nodes.set(node, entry)
  }

  forget(node: string): void {
    for (const { wire } of this.of(node)) {
      this.#bytes -= wire.body.length
      this.#kinds.get(wire.kind)?.delete(node)
      this.#prefixes.delete(prefixOf(wire.node))
    }
    this.#nodes.delete(node)
  }
}

const prefixOf = (key: Buffer): string => key.toString('hex', 0, PREFIX_BYTES)
