import { oneLine } from './print.ts'
import type { World } from './verb.ts'

/** One sentence on stderr for exit code 4: it was accepted, and who will hear of it later. */
export function tellOffline(names: string[], { err }: Pick<World, 'err'>): void {
  if (names.length === 0) return
  const list = names.map(oneLine).join(', ')
  err.write(`accepted; offline now, and will hear of it later: ${list}\n`)
}
