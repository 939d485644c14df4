/**
 * Named volumes of processes: directories `NODE/APP/MICROSERVICE/SLOT/NAME`, which no process is shut into.
 * Its variables say where they are.
 */
import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isNamed, volumeVariable, type Volume } from '../../../core/state/volumes.ts'
import type { ContainerSpec, EngineVolume, Owner } from '../engine.ts'
import { pathMissing } from '../missing.ts'

type SlotOf = Pick<ContainerSpec, 'application' | 'microservice' | 'slot'>

export class VolumeDirs {
  readonly #root: string

  constructor(dir: string, { node }: Owner) {
    this.#root = join(dir, node)
  }

  /** Makes what is missing. @throws BrumeError VOLUME_MISSING for a path of the node that is not there */
  async ensure(slot: SlotOf, volumes: readonly Volume[]): Promise<void> {
    for (const volume of volumes) {
      if (isNamed(volume)) {
        await mkdir(this.#dirOf(slot, volume.source), { recursive: true, mode: 0o700 })
      } else if (!(await isThere(volume.source))) {
        throw pathMissing(volume.source)
      }
    }
  }

  variables(slot: SlotOf, volumes: readonly Volume[]): Record<string, string> {
    const named = volumes.filter(isNamed)
    return Object.fromEntries(
      named.map(({ source }) => [volumeVariable(source), this.#dirOf(slot, source)])
    )
  }

  async list(): Promise<EngineVolume[]> {
    const found: EngineVolume[] = []
    for (const application of await namesIn(this.#root)) {
      for (const microservice of await namesIn(join(this.#root, application))) {
        for (const slot of await namesIn(join(this.#root, application, microservice))) {
          const of = { application, microservice, slot: Number(slot) }
          for (const name of await namesIn(join(this.#root, application, microservice, slot))) {
            found.push({ ...of, name, place: this.#dirOf(of, name) })
          }
        }
      }
    }
    return found
  }

  #dirOf({ application, microservice, slot }: SlotOf, name: string): string {
    return join(this.#root, application, microservice, String(slot), name)
  }
}

/** None where there is no such directory. */
async function namesIn(dir: string): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch {
    return false
  }
}
