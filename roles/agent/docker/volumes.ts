/** Named volumes of Docker: one for each name of a slot, labelled as its containers are. */
import { BrumeError } from '../../../core/errors.ts'
import { volumeNames } from '../../../core/state/volumes.ts'
import type { ContainerSpec, EngineVolume, Owner } from '../engine.ts'
import type { Connection } from './connection.ts'
import { LABEL, ownLabels, volumeNameOf } from './container.ts'

type SlotOf = Pick<ContainerSpec, 'application' | 'microservice' | 'slot'>

/**
 * Makes those that are missing.
 *
 * @throws BrumeError ENGINE_FAILED where somebody else has one of the names
 */
export async function ensureVolumes(
  connection: Connection,
  owner: Owner,
  spec: ContainerSpec
): Promise<void> {
  for (const name of volumeNames({ volumes: [...spec.volumes] })) {
    const Name = volumeNameOf(owner, spec, name)
    const labels = labelsOf(owner, spec, name)
    const doing = `make volume ${Name}`
    // Docker gives the one that is there.
    const made = await connection.ask(doing, () =>
      connection.docker.createVolume({ Name, Labels: labels })
    )
    const { Labels } = await connection.ask(doing, () => made.inspect())
    const found: Record<string, string> = Labels ?? {}
    if (Object.entries(labels).every(([key, value]) => found[key] === value)) continue
    throw new BrumeError(
      'ENGINE_FAILED',
      `volume ${Name} is not this slot's: somebody else made it`,
      {
        next: `look at it (\`docker volume inspect ${Name}\`) and remove it, or name the volume otherwise`
      }
    )
  }
}

export async function listVolumes(connection: Connection, owner: Owner): Promise<EngineVolume[]> {
  const { Volumes } = await connection.ask('list volumes', () =>
    connection.docker.listVolumes({ filters: { label: ownLabels(owner) } })
  )
  return (Volumes ?? []).map(({ Name, Labels }) => ({
    application: Labels[LABEL.application] ?? '',
    microservice: Labels[LABEL.microservice] ?? '',
    slot: Number(Labels[LABEL.slot]),
    name: Labels[LABEL.volume] ?? '',
    place: Name
  }))
}

function labelsOf(owner: Owner, slot: SlotOf, name: string): Record<string, string> {
  return {
    [LABEL.mesh]: owner.mesh,
    [LABEL.node]: owner.node,
    [LABEL.application]: slot.application,
    [LABEL.microservice]: slot.microservice,
    [LABEL.slot]: String(slot.slot),
    [LABEL.volume]: name
  }
}
