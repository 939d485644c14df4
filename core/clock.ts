import { uptime } from 'node:os'

/** The system's own answer is read from a file, which is too slow to be asked for every frame. */
const ASK_AGAIN_MS = 20
let asked = { boot: -Infinity, at: -Number.MAX_VALUE }

/**
 * Milliseconds since the machine booted, counting the time it slept (CLOCK_BOOTTIME). Every
 * duration is measured with it; wall time is for people only. A sleep may show 20 ms late.
 */
export function bootNow(): number {
  const now = performance.now()
  const since = now - asked.at
  if (since <= ASK_AGAIN_MS) return asked.boot + since
  // It is told in hundredths of a second, and must not go back by one.
  const boot = Math.max(uptime() * 1000, asked.boot + since)
  asked = { boot, at: now }
  return boot
}
