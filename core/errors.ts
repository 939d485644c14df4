/**
 * Every error a person may see: a code, one sentence (what, where, why) and what to do next.
 * `exitCode` is the CLI's: 1 error, 3 timeout, 4 accepted but some nodes are offline.
 */
export class BrumeError extends Error {
  readonly code: string
  /** The command or act that helps, as a whole sentence or a command; null when there is none. */
  readonly next: string | null
  readonly exitCode: number

  constructor(
    code: string,
    message: string,
    options: { next?: string; exitCode?: number; cause?: unknown } = {}
  ) {
    super(message, { cause: options.cause })
    this.name = 'BrumeError'
    this.code = code
    this.next = options.next ?? null
    this.exitCode = options.exitCode ?? 1
  }
}

/** The sentence of any thrown thing. */
export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** For another node to read. `maxChars` bounds its sentence, where there is little room. */
export function errorText(error: unknown, maxChars = Infinity): string {
  const { code, next } = error instanceof BrumeError ? error : { code: 'INTERNAL', next: null }
  return JSON.stringify({ code, message: sentenceOf(error).slice(0, maxChars), next })
}

/** What another node said by `errorText`; it may have said anything. */
export function remoteError(text: string): BrumeError {
  try {
    const { code, message, next } = JSON.parse(text) as Record<string, string | null>
    return new BrumeError(code ?? 'REMOTE_FAILED', message ?? 'the other node failed', {
      next: next ?? undefined
    })
  } catch {
    return new BrumeError('REMOTE_FAILED', 'the other node gave an answer that is not JSON')
  }
}
