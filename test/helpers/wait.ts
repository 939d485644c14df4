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
