/** A deploy is done only when its bundles are on nodes that may outlive their author. */
import { BrumeError } from '../../core/errors.ts'
import type { Mesh } from '../../core/mesh.ts'
import type { MicroserviceSpec } from '../../core/state/microservices.ts'

/** On so many nodes beside this one, where so many are in reach. */
const COPIES = 2
const SPREAD_MS = 120_000

/** @throws BrumeError TIMEOUT: accepted, but the files are on too few nodes. */
export function untilSpread(
  mesh: Mesh,
  microservices: { name: string; spec: MicroserviceSpec }[],
  signal: AbortSignal
): Promise<void> {
  const files = microservices.flatMap(({ spec }) => spec.files ?? [])
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (!files.every(({ digest }) => isSpread(mesh, digest))) return
      end()
      resolve()
    }
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', leave)
      mesh.off('gossip', look)
      mesh.off('peers', look)
    }
    const leave = (): void => {
      end()
      resolve()
    }
    const timer = setTimeout(() => {
      end()
      reject(
        new BrumeError(
          'TIMEOUT',
          `accepted, but after ${SPREAD_MS / 1000} s the files are on fewer than ${COPIES} other nodes`,
          { next: 'keep this node up until `brume ps` shows the replicas running', exitCode: 3 }
        )
      )
    }, SPREAD_MS)
    signal.addEventListener('abort', leave)
    mesh.on('gossip', look)
    mesh.on('peers', look)
    look()
  })
}

/** Nodes without an engine never fetch: they are not counted on. */
function isSpread(mesh: Mesh, digest: string): boolean {
  const able = [...mesh.alive()].filter(
    (id) =>
      id !== mesh.self && (mesh.gossip.get(id, 'facts')?.body.engine.kind ?? 'none') !== 'none'
  )
  const holders = able.filter((id) => mesh.gossip.get(id, 'holds')?.body.digests.includes(digest))
  return holders.length >= Math.min(COPIES, able.length)
}
