import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Waits for a condition, looking again and again. @throws after `ms` */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  ms = 10_000,
  everyMs = 20
): Promise<void> {
  const until = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > until)
      throw new Error(`not so within ${ms} ms: ${condition.toString()}`)
    await sleep(everyMs)
  }
}

/** Resolves once it is closed, also by an error of it: one that is hung up on may see a reset. */
export function closeOf(socket: Socket): Promise<void> {
  socket.on('error', () => {})
  return new Promise((resolve) => socket.once('close', () => resolve()))
}
