/**
 * After a power cut, or on a snapshot of earlier, peers may know more of what this node wrote than
 * itself. Whoever appended then would write another op at a place that is taken, which no peer
 * forgives: its core would be forked for good. So it asks first, and takes its own ops back.
 */
import { delayMs } from './backoff.ts'
import { bootNow } from './clock.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import type { Logger } from './logger.ts'

export interface OwnEnd {
  /** Of this node's oplog core: blocks that are here, and what it knows to have written. */
  lengths(): { here: number; known: number }
  /** Resolves once that many of its ops are here; fails where no peer in reach gives the next one. */
  regain(length: number): Promise<void>
  /** Who wants to append is told so while they are missing. */
  refuse(why: BrumeError): void
  /** Members a link leads to. */
  peers(): string[]
  /** What a member has of this node's core. */
  ask(node: string): Promise<number>
  /** Calls back when a link came up; gives how to stop that. */
  onLink(look: () => void): () => void
  log: Logger
}

/**
 * How long to look for anybody. Who finds nobody goes on: what it announced was on the disk first
 * (`durable.ts`), so only a snapshot of earlier can still be behind its peers.
 */
const ALONE_MS = 20_000
/** The first peer that answers may be the one that knows least: so long others may say more. */
const OTHERS_MS = 1_000
const LOOK_MS = 2_000
const RETRY = { firstMs: 2_000, capMs: 60_000 }

/** Resolves when this node may append: `alone` where nobody was met. */
export async function untilOwnEnd(end: OwnEnd, signal: AbortSignal): Promise<'asked' | 'alone'> {
  const started = bootNow()
  while (!signal.aborted) {
    const known = await askAll(end)
    if (known.length > 0) {
      await pause(OTHERS_MS, signal)
      await takeBack(end, Math.max(...known, ...(await askAll(end))), signal)
      return 'asked'
    }
    const left = ALONE_MS - (bootNow() - started)
    if (left <= 0) break
    await nextLink(end, Math.min(left, LOOK_MS), signal)
  }
  await takeBack(end, 0, signal)
  end.log.warn({}, 'nobody to ask what this node wrote before the power cut: it goes on alone')
  return 'alone'
}

/** For a link that came up later: takes back what this peer has more. Gives whether it had. */
export async function takeBackFrom(
  node: string,
  end: OwnEnd,
  signal: AbortSignal
): Promise<boolean> {
  const length = await end.ask(node)
  if (length <= end.lengths().here) return false
  await takeBack(end, length, signal)
  return true
}

async function askAll(end: OwnEnd): Promise<number[]> {
  const answers = await Promise.allSettled(end.peers().map((node) => end.ask(node)))
  return answers.flatMap((answer) => {
    if (answer.status === 'fulfilled') return [answer.value]
    end.log.debug(
      { error: sentenceOf(answer.reason) },
      'a peer did not say what it has of this node'
    )
    return []
  })
}

async function takeBack(end: OwnEnd, theirs: number, signal: AbortSignal): Promise<void> {
  const length = (): number => Math.max(theirs, end.lengths().known)
  if (length() <= end.lengths().here) return
  end.log.warn(
    { ...end.lengths(), theirs },
    'peers have more of what this node wrote: taking it back'
  )
  for (let failures = 0; end.lengths().here < length() && !signal.aborted; failures++) {
    try {
      await Promise.race([end.regain(length()), aborted(signal)])
    } catch (error) {
      // Links just made may not have told yet what their peers have: only a second failure says so.
      if (failures > 0) end.refuse(missing(end.lengths().here, length()))
      end.log.warn({ error: sentenceOf(error) }, 'it could not be taken back yet')
      await pause(delayMs(failures, RETRY, Math.random()), signal)
    }
  }
}

const missing = (here: number, theirs: number): BrumeError =>
  new BrumeError(
    'OWN_OPS_MISSING',
    `peers know of ${theirs} ops of this node, its store is of an earlier day and has ${here}, and no node in reach has the rest: nothing can be changed from here until one gives them back`,
    {
      next: 'start the nodes that were near it then; if none has them, `brume leave --purge` and join as a new node'
    }
  )

function nextLink(end: OwnEnd, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      stop()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    const stop = end.onLink(done)
    signal.addEventListener('abort', done)
  })
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
