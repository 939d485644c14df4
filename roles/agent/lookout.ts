/**
 * Which of the things that microservices ask for this node has: looked for when other ones are asked for,
 * when there is reason to, and now and then while there are any.
 */
import type { Timers } from '../../core/throttle.ts'

export interface LookoutComponents {
  /** Names, in order. */
  asked: () => readonly string[]
  /** null where nobody can say at the moment: then it is as it was. */
  isThere: (name: string) => Promise<boolean | null>
  /** Called on change only: all that were asked for, and whether they are there. */
  tell: (found: Record<string, boolean>) => void
  everyMs: number
  /** What was there and is not is looked for again so soon, before it counts as gone; null: it has gone. */
  againMs: number | null
  timers?: Pick<Timers, 'setTimeout' | 'clearTimeout'> | undefined
}

export interface Lookout {
  /** Something may be asked for that was not. */
  look(): void
  /** Something may be there that was not, or the other way round. */
  lookAgain(): void
  end(): void
}

export function keepLookout({
  asked,
  isThere,
  tell,
  everyMs,
  againMs,
  timers = {
    setTimeout: unreferenced,
    clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout)
  }
}: LookoutComponents): Lookout {
  let found = new Map<string, boolean>()
  const missed = new Set<string>()
  let timer: unknown = null
  let looking: { again: boolean } | null = null
  let isOver = false

  /** What is to be told of one, now that it was looked for; null where nobody knows. */
  const judged = (name: string, there: boolean | null): boolean | null => {
    const before = found.get(name) ?? null
    if (there === null) return before
    const isFirstMiss = !there && before === true && againMs !== null && !missed.has(name)
    if (isFirstMiss) missed.add(name)
    else missed.delete(name)
    return there || isFirstMiss
  }

  const look = async (): Promise<void> => {
    const names = asked()
    const now = new Map<string, boolean>()
    for (const name of names) {
      const is = judged(name, await isThere(name))
      if (isOver) return
      if (is !== null) now.set(name, is)
    }
    const isNews = JSON.stringify([...now]) !== JSON.stringify([...found])
    found = now
    if (isNews) tell(Object.fromEntries(now))
    if (names.length === 0) return
    timer = timers.setTimeout(lookAgain, missed.size > 0 && againMs !== null ? againMs : everyMs)
  }

  const lookAgain = (): void => {
    if (isOver) return
    if (looking !== null) {
      looking.again = true
      return
    }
    if (timer !== null) timers.clearTimeout(timer)
    timer = null
    const mine = (looking = { again: false })
    void look().finally(() => {
      looking = null
      if (mine.again) lookAgain()
    })
  }

  let last = ''
  return {
    look() {
      const now = asked().join('\n')
      if (now === last) return
      last = now
      lookAgain()
    },
    lookAgain,
    end() {
      isOver = true
      if (timer !== null) timers.clearTimeout(timer)
    }
  }
}

const unreferenced = (fn: () => void, ms: number): NodeJS.Timeout => setTimeout(fn, ms).unref()
