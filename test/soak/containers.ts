/** What runs for a node, read past the code under test. */
import { join } from 'node:path'
import { isAlive } from '../../roles/agent/process/identity.ts'
import { readRecords } from '../../roles/agent/process/record.ts'
import { dockerApi } from '../helpers/docker-api.ts'
import { endProcessesOf } from '../helpers/leftovers.ts'

export interface Running {
  /** `application/microservice/slot`. */
  slot: string
  revision: string
  /** Names one start of one container: another value means that it was restarted. */
  start: string
}

export interface Containers {
  /** Of one node. */
  running(node: { dir: string; id: string }): Promise<Running[]>
  /** Ends all that is left of the mesh's. */
  endAll(nodes: { dir: string; id: string }[]): Promise<void>
}

export const processes: Containers = {
  async running({ dir }) {
    const found: Running[] = []
    for (const record of await recordsOf(dir)) {
      if (!(await isAlive(record.pid, record.stamp))) continue
      const { application, microservice, slot, revision, pid, stamp } = record
      found.push({
        slot: `${application}/${microservice}/${slot}`,
        revision,
        start: `${pid} ${stamp}`
      })
    }
    return found
  },
  async endAll(nodes) {
    // Also one whose start a kill cut in two: its launcher has the directory in its arguments.
    for (const { dir } of nodes) await endProcessesOf(join(dir, 'process'))
  }
}

/** One engine that all nodes share. */
export function dockerContainers(socket: string): Containers {
  interface Listed {
    Id: string
    Labels: Record<string, string>
  }
  const list = async (id: string, all: boolean): Promise<Listed[]> => {
    const filters = encodeURIComponent(JSON.stringify({ label: [`brume.node=${id}`] }))
    const path = `/containers/json?all=${all}&filters=${filters}`
    return (await dockerApi(socket, 'GET', path)).body as Listed[]
  }
  return {
    async running({ id }) {
      const found: Running[] = []
      for (const { Id, Labels } of await list(id, false)) {
        const { status, body } = await dockerApi(socket, 'GET', `/containers/${Id}/json`)
        if (status !== 200) continue
        const { State } = body as { State: { Running: boolean; StartedAt: string } }
        if (!State.Running) continue
        const label = (name: string): string => Labels[`brume.${name}`] ?? ''
        found.push({
          slot: `${label('application')}/${label('microservice')}/${label('slot')}`,
          revision: label('revision'),
          start: `${Id.slice(0, 12)} ${State.StartedAt}`
        })
      }
      return found
    },
    async endAll(nodes) {
      for (const { id } of nodes) {
        for (const { Id } of await list(id, true)) {
          await dockerApi(socket, 'DELETE', `/containers/${Id}?force=true`)
        }
      }
    }
  }
}

async function recordsOf(dir: string): ReturnType<typeof readRecords> {
  try {
    return await readRecords(join(dir, 'process'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
