import { uptime } from 'node:os'

/**
 * Milliseconds since the machine booted, counting the time it slept (CLOCK_BOOTTIME). Every
 * duration is measured with it; wall time is for people only.
 */
export const bootNow = (): number => uptime() * 1000
