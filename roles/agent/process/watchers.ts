/** Those who watch the process engine. */
import { once } from 'node:events'
import { BrumeError, sentenceOf } from '../../../core/errors.ts'
import type { EngineEvent } from '../engine.ts'

interface Watcher {
  onEvent: (event: EngineEvent) => void
  fail: (error: BrumeError) => void
}

export class Watchers {
  readonly #watchers = new Set<Watcher>()
  readonly #closed: AbortSignal

  constructor(closed: AbortSignal) {
    this.#closed = closed
  }

  /** As `Engine` says. */
  async watch(
    onEvent: (event: EngineEvent) => void,
    signal: AbortSignal,
    onReady?: () => void
  ): Promise<void> {
    const until = AbortSignal.any([signal, this.#closed])
    if (until.aborted) return
    const failure = new AbortController()
    const watcher: Watcher = { onEvent, fail: (error) => failure.abort(error) }
    this.#watchers.add(watcher)
    try {
      onReady?.()
      await once(AbortSignal.any([until, failure.signal]), 'abort')
      failure.signal.throwIfAborted()
    } finally {
      this.#watchers.delete(watcher)
    }
  }

  emit(event: EngineEvent): void {
    for (const { onEvent } of this.#watchers) onEvent(event)
  }

  /** What goes wrong behind the scenes is told to those who watch: they come back and list. */
  fail(error: unknown): void {
    const sentence = `the process engine failed: ${sentenceOf(error)}`
    const failure = new BrumeError('ENGINE_FAILED', sentence, { cause: error })
    for (const watcher of this.#watchers) watcher.fail(failure)
  }
}
