/** What these tests look at, at the engines and through the CLI. */
import type { ReplicaJson } from '../../apps/api.ts'
import type { Container, Fleet, FleetNode } from '../helpers/fleet.ts'
import type { Output } from '../helpers/lab.ts'

export async function running(node: FleetNode): Promise<Container[]> {
  return (await node.containers()).filter((container) => container.running)
}

export async function allRunning(fleet: Fleet): Promise<Container[]> {
  return (await Promise.all(fleet.nodes.map(running))).flat()
}

/** Those of `these` that are among `those`, neither made anew nor started again. */
export function kept(these: Container[], those: Container[]): Container[] {
  return these.filter((a) => those.some((b) => a.id === b.id && a.startedAt === b.startedAt))
}

/** Until `node` shows `count` replicas of an application (all), each running. */
export async function untilRunning(
  node: FleetNode,
  count: number,
  { application, ms }: { application?: string; ms?: number } = {}
): Promise<ReplicaJson[]> {
  return node.until<ReplicaJson[]>(
    application === undefined ? ['ps'] : ['ps', application],
    (rows) => rows.length === count && rows.every(({ state }) => state === 'running'),
    ms
  )
}

/** @throws where there is none of that name */
export function named(fleet: Fleet, name: string | null | undefined): FleetNode {
  const found = fleet.nodes.find((node) => node.name === name)
  if (found === undefined) throw new Error(`no node ${name}`)
  return found
}

/** What an assertion on an exit code shows: nothing where it is 0. */
export const said = ({ code, stderr }: Output): string =>
  code === 0 ? 'ends with 0' : `exit code ${code}: ${stderr.trim()}`
