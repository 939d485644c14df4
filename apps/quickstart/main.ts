/**
 * `npm run quickstart [-- --once] [-- --engine docker|process]`: three nodes on this machine, over
 * a DHT of their own. Stays until Ctrl-C and leaves nothing behind, however it ends.
 */
import { parseArgs } from 'node:util'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { chooseEngine, IMAGE, type EngineKind } from './engine.ts'
import { createScreen, terminal, type Screen } from './screen.ts'
import { tellStory } from './story.ts'
import { openTrio } from './trio.ts'
import { whileWaiting } from './wait-line.ts'

const INTERRUPTED = new BrumeError('INTERRUPTED', 'interrupted', { exitCode: 130 })

const ending = new AbortController()
const leave = (): void => ending.abort(INTERRUPTED)
// Again and again: a second Ctrl-C must not end the cleaning up.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, leave)

process.exitCode = await main(createScreen(terminal(process.stdout, leave)), ending.signal)

async function main(screen: Screen, signal: AbortSignal): Promise<number> {
  try {
    const { once, asked } = parseOptions()
    screen.say('brume: edge computing without a server')
    const { kind, because } = await whileWaiting(screen.output, chooseEngine(asked))
    screen.say(`engine: ${kind} (${because})`)
    signal.throwIfAborted()
    const trio = await openTrio(kind, signal)
    const stays = { reached: false }
    try {
      await tellStory(trio, screen, {
        engine: kind,
        signal,
        once,
        onStay: () => (stays.reached = true)
      })
    } catch (error) {
      // Ctrl-C is how the last chapter ends.
      if (!(stays.reached && error === INTERRUPTED)) throw error
    } finally {
      screen.say('\ncleaning up: daemons, what they ran, and their files')
      await whileWaiting(screen.output, trio.end())
      if (kind === 'docker') screen.say(`image ${IMAGE} stays, for the next time`)
    }
    return 0
  } catch (error) {
    process.stderr.write(`quickstart: ${sentenceOf(error)}\n`)
    if (!(error instanceof BrumeError)) return 1
    if (error.next !== null) process.stderr.write(`  next: ${error.next}\n`)
    return error.exitCode
  }
}

function parseOptions(): { once: boolean; asked: EngineKind | null } {
  const usage = 'npm run quickstart -- [--once] [--engine docker|process]'
  try {
    const { once, engine } = parseArgs({
      options: { once: { type: 'boolean', default: false }, engine: { type: 'string' } }
    }).values
    if (engine === undefined || engine === 'docker' || engine === 'process') {
      return { once, asked: engine ?? null }
    }
  } catch (cause) {
    throw new BrumeError('USAGE', `quickstart: ${sentenceOf(cause)}`, { next: usage, cause })
  }
  throw new BrumeError('USAGE', '--engine: expected docker or process', { next: usage })
}
