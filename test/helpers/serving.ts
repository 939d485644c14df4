/** How many slots of an application serve, at every moment, as the engines see it. */
import { setTimeout as delay } from 'node:timers/promises'
import { dockerApi } from './docker-api.ts'

export interface Listed {
  Id: string
  Labels: Record<string, string>
}

/** What runs of a brume application, on all engines. */
export async function runningOf(application: string, sockets: string[]): Promise<Listed[]> {
  const label = [`brume.application=${application}`]
  const filters = encodeURIComponent(JSON.stringify({ label }))
  const found = await Promise.all(
    sockets.map((socket) => dockerApi(socket, 'GET', `/containers/json?filters=${filters}`))
  )
  return found.flatMap(({ body }) => body as Listed[])
}

const LOOK_MS = 50

/**
 * Counts slots every 50 ms, until `end`, which gives all counts. A container serves `afterMs` after it
 * was first seen; what runs at the first look serves.
 */
export function countServing(
  application: string,
  sockets: string[],
  afterMs: number
): { end(): Promise<number[]> } {
  const counts: number[] = []
  const since = new Map<string, number>()
  let over = false
  const looking = (async () => {
    while (!over) {
      const now = performance.now()
      const slots = new Set<string>()
      for (const { Id, Labels } of await runningOf(application, sockets)) {
        if (!since.has(Id)) since.set(Id, counts.length === 0 ? -Infinity : now)
        const slot = `${Labels['brume.microservice']}/${Labels['brume.slot']}`
        if (now - (since.get(Id) ?? now) >= afterMs) slots.add(slot)
      }
      counts.push(slots.size)
      await delay(LOOK_MS)
    }
  })()
  return {
    async end() {
      over = true
      await looking
      return counts
    }
  }
}
