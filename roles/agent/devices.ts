/**
 * Which of the device files that microservices ask for this node has. Looked for when that changes, and
 * now and then while there are any: there is no news of what is plugged in that every system has.
 */
import { stat } from 'node:fs/promises'
import type { Timers } from '../../core/throttle.ts'

export interface DeviceComponents {
  /** Paths, in order. */
  asked: () => readonly string[]
  /** Called on change only: all that were asked for, and whether they are there. */
  tell: (found: Record<string, boolean>) => void
  isThere?: (path: string) => Promise<boolean>
  timers?: Pick<Timers, 'setTimeout' | 'clearTimeout'>
}

const EVERY_MS = 10_000
/** What was there and is not is looked for again so soon, before it counts as gone: a reset takes a second. */
const AGAIN_MS = 3_000

export interface DeviceWatch {
  /** Something may be asked for that was not. */
  look(): void
  end(): void
}

export function watchDevices({
  asked,
  tell,
  isThere = isDevice,
  timers = {
    setTimeout: unreferenced,
    clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout)
  }
}: DeviceComponents): DeviceWatch {
  let found: Record<string, boolean> = {}
  const missed = new Set<string>()
  let timer: unknown = null
  let looking: { again: boolean } | null = null
  let isOver = false

  const look = async (): Promise<void> => {
    const paths = asked()
    const there = await Promise.all(paths.map(isThere))
    const now: Record<string, boolean> = {}
    for (const [i, path] of paths.entries()) {
      const isGone = there[i] !== true
      const isFirstMiss = isGone && found[path] === true && !missed.has(path)
      if (isFirstMiss) missed.add(path)
      else missed.delete(path)
      now[path] = !isGone || isFirstMiss
    }
    if (isOver) return
    const isNews = JSON.stringify(now) !== JSON.stringify(found)
    found = now
    if (isNews) tell(now)
    if (paths.length > 0) {
      timer = timers.setTimeout(() => again(), missed.size > 0 ? AGAIN_MS : EVERY_MS)
    }
  }

  const again = (): void => {
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
      if (mine.again) again()
    })
  }

  let last = ''
  return {
    look() {
      const now = asked().join()
      if (now === last) return
      last = now
      again()
    },
    end() {
      isOver = true
      if (timer !== null) timers.clearTimeout(timer)
    }
  }
}

const unreferenced = (fn: () => void, ms: number): NodeJS.Timeout => setTimeout(fn, ms).unref()

/** Also a directory of them, as /dev/snd. */
export async function isDevice(path: string): Promise<boolean> {
  try {
    const found = await stat(path)
    return found.isCharacterDevice() || found.isBlockDevice() || found.isDirectory()
  } catch {
    return false
  }
}
