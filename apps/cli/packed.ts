/** Files of a deploy as they are sent: with their bundles packed, before anything is asked of anybody. */
import type { DeployRequest, ServiceRequest } from '../api.ts'
import type { Context } from './verb.ts'

/** An application with its bundles packed: nothing is sent before all of it could be read. */
export interface Packed {
  request: DeployRequest
  /** By index in `request.microservices`: its bundle. */
  bundles: Map<number, Buffer>
}

export interface PackedFiles {
  applications: Packed[]
  services: ServiceRequest[]
}

/** The formats and tar are loaded here, by the verbs that need them. @throws BrumeError as they do */
export async function readPacked(path: string, { err }: Context): Promise<PackedFiles> {
  const { readFiles } = await import('../formats/files.ts')
  const { packBundle } = await import('./bundle.ts')
  const packed: Packed[] = []
  const tars = new Map<string, Buffer>()
  const { applications, services } = await readFiles(path)
  for (const { application, microservices, warnings } of applications) {
    for (const warning of warnings) err.write(`warning: ${warning}\n`)
    const bundles = new Map<number, Buffer>()
    for (const [i, { filesDir, filesAt }] of microservices.entries()) {
      if (filesDir === null) continue
      const tar = tars.get(filesDir) ?? (await packBundle(filesDir, filesAt))
      tars.set(filesDir, tar)
      bundles.set(i, tar)
    }
    const request = {
      application,
      microservices: microservices.map(({ name, spec }) => ({ name, spec }))
    }
    packed.push({ request, bundles })
  }
  return { applications: packed, services }
}
