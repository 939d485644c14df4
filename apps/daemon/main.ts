/** The daemon's process: log, socket, signals, an orderly end. */
import { join } from 'node:path'
import { sentenceOf } from '../../core/errors.ts'
import { socketAccess, socketPath } from '../paths.ts'
import { VERSION } from '../version.ts'
import { routes } from './handlers/index.ts'
import { createLog } from './log.ts'
import { openLasting } from './outage.ts'
import { serve } from './socket.ts'

const EXIT_MS = 2_000

/** Runs until SIGTERM, SIGINT or `brume down`. The data directory is there and private. */
export async function runDaemon({ dataDir: dir }: { dataDir: string }): Promise<void> {
  const log = createLog(join(dir, 'daemon.log'), process.env['BRUME_LOG_LEVEL'])
  const daemon = await openLasting(dir, log)
  const path = socketPath(dir)
  const access = socketAccess()
  const server = await serve(path, routes(daemon), { ...access, log })
  log.info({ version: VERSION, pid: process.pid, dir }, 'the daemon started')

  const onSignal = (signal: string): void => {
    log.info({ signal }, 'asked to stop')
    daemon.requestStop()
  }
  process.once('SIGTERM', onSignal)
  process.once('SIGINT', onSignal)
  process.on('unhandledRejection', (error) => {
    log.error({ err: error }, 'nobody handled an error')
  })
  process.on('uncaughtException', (error) => {
    log.error({ err: error }, 'the daemon crashed')
    process.exit(1)
  })
  try {
    await daemon.stopRequested
  } catch (error) {
    log.error({ err: error }, `the daemon cannot go on: ${sentenceOf(error)}`)
    throw error
  } finally {
    await server.close()
    await daemon.close()
    log.info({}, 'the daemon stopped')
    // A store that never opened holds on to what it waits for.
    setTimeout(() => process.exit(), EXIT_MS).unref()
  }
}
