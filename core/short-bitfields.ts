/**
 * Hypercore keeps two bitfields for every peer of every core, and with each an index over two million
 * bits, to leap over what is all set or all unset: 4 KiB, worked out anew with each message that
 * names blocks. Cores here fill a page of 32,768 blocks or two, which are as quickly looked through
 * as they are: an index is made once there are more. In all of this process; imported for its effect.
 */
import { quickbit, type ChunkIndex } from 'hypercore/lib/compat.js'

const MAX_PAGES = 8

const { Index } = quickbit
const indexOf = Index.from.bind(Index)

Index.from = (given, byteLength) =>
  Array.isArray(given) ? new ShortIndex(given, byteLength) : indexOf(given, byteLength)

class ShortIndex implements ChunkIndex {
  readonly chunks: ChunkIndex['chunks']
  readonly #byteLength: number | undefined
  #whole: ChunkIndex | null = null

  constructor(chunks: ChunkIndex['chunks'], byteLength: number | undefined) {
    this.chunks = chunks
    this.#byteLength = byteLength
  }

  update(bit: number): boolean {
    return this.#whole?.update(bit) ?? false
  }

  skipFirst(value: boolean, position: number): number {
    return this.#index()?.skipFirst(value, position) ?? position
  }

  skipLast(value: boolean, position: number): number {
    return this.#index()?.skipLast(value, position) ?? position
  }

  #index(): ChunkIndex | null {
    if (this.chunks.length <= MAX_PAGES) return null
    return (this.#whole ??= indexOf(this.chunks, this.#byteLength) as ChunkIndex)
  }
}
