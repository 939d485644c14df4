import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { World } from './verb.ts'

/** Whether there is a person to ask. */
export const mayAsk = ({ err, stdin }: World): boolean =>
  err.isTTY && (stdin as { isTTY?: boolean }).isTTY === true

/** One line from a person; empty where they typed none. */
export async function ask(question: string, { err, stdin }: World): Promise<string> {
  err.write(question)
  const lines = createInterface({ input: stdin })
  try {
    const ended = once(lines, 'close').then(() => [''])
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string]
    return line.trim()
  } finally {
    lines.close()
  }
}
