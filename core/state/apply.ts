/**
 * What an apply handler may see and do. Handlers are total and deterministic: no clock, no random,
 * no throw; the same ops in the same order give the same view on every node.
 */
import type { OpId, Written } from './records.ts'
import type { Shape } from './shape.ts'
import type { NodeRecord } from './state.ts'

export interface ViewReader {
  get<T>(key: string): Promise<T | null>
  /** Keys and values under a prefix that ends in `/`. */
  list<T>(prefix: string): Promise<{ key: string; value: T }[]>
}

/** The view as a handler sees it: the batch of the op being applied. */
export interface ViewBatch extends ViewReader {
  put(key: string, value: unknown): Promise<void>
  del(key: string): Promise<void>
}

export interface ApplyContext {
  view: ViewBatch
  /** Key of the base. */
  meshKey: Buffer
  /** Key of the writer's core. */
  writer: Buffer
  /** The writer's record; null before it is admitted. */
  author: NodeRecord | null
  op: OpId
  /** Of the view at this op. */
  format: number
  /** Makes a node a writer; kept out of the view so that Autobase orders its ops. */
  addWriter(key: Buffer): Promise<void>
  /** Who confirms the order; as `addWriter`, Autobase's own record. */
  indexers: Indexers
}

export interface Indexers {
  /** Writer keys, hex, as they are at this op. */
  readonly confirming: string[]
  /** Those that will with their next op. */
  readonly coming: string[]
  add(nodeKey: Buffer): Promise<void>
  /** Not the last one. */
  remove(writer: Buffer): Promise<void>
}

/** null: applied. Else why the op was refused, one clause for the log. */
export type Verdict = string | null

export interface OpDeclaration<T> {
  shape: Shape<T>
  /** The first format that has it, where that is not 1: before, it is a no-op for ever. */
  since?: number
  /** Whether an author that is no member may write it; only asked of those. */
  mayBeOutside?: (op: T, author: NodeRecord, node: NodeRecord | null) => boolean
  /** What it is about, for the audit: a name or a node id; missing where no person decides it. */
  audit?: (op: T, author: string) => string
  apply(op: T, context: ApplyContext): Promise<Verdict>
}

export const declare = <T>(declaration: OpDeclaration<T>): OpDeclaration<T> => declaration

export const written = (context: ApplyContext, at: number): Written => ({
  op: context.op,
  by: context.author?.id ?? '',
  at
})

export const mayOperate = (context: ApplyContext): boolean =>
  context.author?.state === 'member' &&
  (context.author.role === 'admin' || context.author.role === 'operator')

export const isAdmin = (context: ApplyContext): boolean =>
  context.author?.state === 'member' && context.author.role === 'admin'

export const mayControl = (context: ApplyContext): boolean =>
  context.author?.state === 'member' && context.author.controller
