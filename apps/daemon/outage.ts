/**
 * A daemon that outlives a disk nothing can be written to: it closes, says so to whoever asks, and
 * opens again once there is room. What runs is left alone meanwhile.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { diskProblem } from '../../core/disk.ts'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { openDaemon, type RunningDaemon } from './daemon.ts'

const LOOK_MS = 2_000
/** A store that cannot write may not come to an end either. */
const CLOSE_MS = 10_000

/** As `openDaemon`, and throws as it does, but for DISK_FULL and READ_ONLY. */
export async function openLasting(dir: string, log: Logger): Promise<RunningDaemon> {
  const startedAt = Date.now()
  const ending = new AbortController()
  let stop: () => void = () => {}
  let fail: (error: Error) => void = () => {}
  const stopRequested = new Promise<void>((resolve, reject) => {
    stop = resolve
    fail = reject
  })
  stopRequested.catch(() => {})
  let inner: RunningDaemon | null = null
  let outage: BrumeError | null = null

  const open = async (): Promise<void> => {
    const daemon = await openDaemon(dir, log)
    inner = daemon
    outage = null
    daemon.stopRequested.then(stop, (error: Error) => {
      void onFailure(daemon, error).catch(fail)
    })
  }
  const onFailure = async (daemon: RunningDaemon, error: Error): Promise<void> => {
    outage = await diskProblem(dir)
    if (outage === null) throw error
    inner = null
    log.error({ error: sentenceOf(error) }, `closed until there is room: ${outage.message}`)
    const closed = daemon.close().catch((cause: unknown) => {
      log.warn({ error: sentenceOf(cause) }, 'it did not close in order')
    })
    await Promise.race([closed, delay(CLOSE_MS, null, { ref: false })])
    await reopen()
  }
  const reopen = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      await delay(LOOK_MS, null, { signal: ending.signal }).catch(() => {})
      const problem = await diskProblem(dir)
      outage = problem ?? outage
      if (problem !== null || ending.signal.aborted) continue
      log.info({}, 'there is room again')
      return open()
    }
  }

  const problem = await diskProblem(dir)
  if (problem === null) await open()
  else {
    outage = problem
    log.error({}, `not opened: ${problem.message}`)
    reopen().catch(fail)
  }
  const now = (): RunningDaemon => {
    if (inner !== null) return inner
    throw outage ?? new BrumeError('NOT_READY', 'this node is opening its store', {})
  }
  return {
    dir,
    startedAt,
    stopRequested,
    requestStop: () => stop(),
    member: () => now().member(),
    init: async (request) => now().init(request),
    join: async (request, report) => now().join(request, report),
    leave: async (request, report) => now().leave(request, report),
    async close() {
      ending.abort()
      await inner?.close()
    }
  }
}
