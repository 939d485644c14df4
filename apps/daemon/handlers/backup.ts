import { BrumeError } from '../../../core/errors.ts'
import type { Mesh } from '../../../core/mesh.ts'
import type { Bundle } from '../../../core/state/microservices.ts'
import type { BackupHead, BackupLine } from '../../api.ts'
import { VERSION } from '../../version.ts'
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'
import { mustBeAdmin } from '../world.ts'

/** Of a bundle, in one line. */
const CHUNK_BYTES = 256 * 1024

export const backup = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/backup',
    async handle() {
      const { mesh } = daemon.member()
      mustBeAdmin(mesh)
      return { lines: backupLines(mesh) }
    }
  }
]

/** The desired state and what it needs; no node's identity is in it. */
async function* backupLines(mesh: Mesh): AsyncGenerator<BackupLine> {
  const { state, membership } = mesh
  const head: BackupHead = {
    version: VERSION,
    at: new Date().toISOString(),
    mesh: membership.paper.mesh,
    key: await keyOf(mesh),
    bootstrap: membership.bootstrap,
    defaultRole: state.mesh?.defaultRole ?? 'admin',
    nodes: [...state.nodes.values()].map(({ displayName, labels }) => ({
      name: displayName,
      labels
    })),
    applications: [...state.applications.keys()].map((application) => ({
      application,
      microservices: [...state.microservices.values()]
        .filter((record) => record.application === application)
        .map(({ name, spec }) => ({ name, spec }))
    })),
    services: [...state.services.values()].map(({ application, name, spec }) => ({
      ...{ application, name, spec }
    }))
  }
  yield { head }
  const bundles = new Map<string, Bundle>()
  for (const { spec } of state.microservices.values()) {
    if (spec.files !== null) bundles.set(spec.files.digest, spec.files)
  }
  for (const bundle of bundles.values()) {
    for await (const bytes of mesh.bundles.read(bundle)) {
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
        const chunk = bytes.subarray(at, at + CHUNK_BYTES).toString('base64')
        yield { bundle: bundle.digest, chunk }
      }
    }
  }
}

/** A node that cannot show the mesh key backs up all the same: a restore is a new mesh then. */
async function keyOf(mesh: Mesh): Promise<string | null> {
  try {
    return await mesh.keyRing.show()
  } catch (error) {
    if (error instanceof BrumeError) return null
    throw error
  }
}
