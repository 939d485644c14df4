/** Now and then takes from this node's disk the bundles that nobody needs any more. */
import { basename } from 'node:path'
import { bootNow } from '../core/clock.ts'
import { discard } from '../core/discard.ts'
import { sentenceOf } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Mesh } from '../core/mesh.ts'
import { neededBundles } from '../core/state/needed-bundles.ts'

export interface TidyComponents {
  mesh: Pick<Mesh, 'oplog' | 'bundles'>
  /** Of this node, as its engine has them; null while it does not say. */
  containers: () => readonly { filesDir: string | null }[] | null
  log: Logger
}

const EVERY_MS = 600_000
/** Who puts an older version back within it finds the files where they were. */
const GRACE_MS = 3_600_000

/** Gives what ends it. */
export function keepTidy(
  { mesh, containers, log }: TidyComponents,
  { everyMs = EVERY_MS, graceMs = GRACE_MS } = {}
): () => void {
  let idleSince: ReadonlyMap<string, number> = new Map()
  let busy = false
  const look = async (): Promise<void> => {
    const held = await mesh.bundles.onDisk()
    if (held.unpacked.length + held.blocks.length === 0) return
    const needed = await mesh.oplog.look(neededBundles)
    const found = containers()
    const mounted =
      found === null ? null : new Set(found.flatMap(({ filesDir }) => filesDir ?? []).map(name))
    const plan = discard({ held, needed, mounted, idleSince, now: bootNow(), graceMs })
    idleSince = plan.idleSince
    if (plan.unpacked.length + plan.blocks.length === 0) return
    await mesh.bundles.discard(plan)
    log.info(
      { unpacked: plan.unpacked.length, stored: plan.blocks.length },
      'bundles that nobody needs any more were taken from the disk'
    )
  }
  const timer = setInterval(() => {
    if (busy) return
    busy = true
    look()
      .catch((error: unknown) => log.warn({ error: sentenceOf(error) }, 'bundles were not cleared'))
      .finally(() => (busy = false))
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}

const name = (dir: string): string => basename(dir)
