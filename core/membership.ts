/** What a data directory knows of its mesh: written once it is in, read at every start. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  list,
  literal,
  nullable,
  object,
  optional,
  pattern,
  text,
  type Infer
} from './state/shape.ts'
import { name } from './state/names.ts'
import { proof } from './proof.ts'
import { admission } from './admission.ts'
import { BrumeError } from './errors.ts'
import { readIfThere, writeWhole } from './files.ts'

const key = pattern(/^[0-9a-f]{64}$/)

const membership = object({
  /** Key of the base, hex. */
  mesh: key,
  encryptionKey: key,
  /** Of a mesh key; null where this node never had one, or the one it had was changed. */
  joinSecret: nullable(key),
  name,
  /** Shown to every peer. */
  paper: admission,
  /** That the key it came by is one of this mesh: for members that were away when it was made. */
  proof: nullable(proof),
  /** That an admin removed this node; it is a member no more. */
  removal: nullable(proof),
  /** Key of the system core that the member which let it in had: where an empty store begins. */
  system: optional(pattern(/^[a-z0-9]{52}$/)),
  /** Of the first node only: what `mesh.init` says. */
  defaultRole: optional(literal('admin', 'operator', 'node', 'viewer')),
  /** HOST:PORT; empty for the public DHT. */
  bootstrap: list(text(300), 64),
  /** HOST:PORT of members to try first. */
  peers: list(text(300), 64)
})
export type Membership = Infer<typeof membership>

const pathOf = (dir: string): string => join(dir, 'mesh.json')

/** null where the node is in no mesh. @throws BrumeError MEMBERSHIP_DAMAGED. */
export async function loadMembership(dir: string): Promise<Membership | null> {
  const bytes = await readIfThere(pathOf(dir))
  if (bytes === null) return null
  let value: unknown = null
  try {
    value = JSON.parse(bytes.toString())
  } catch {
    // Told below, together with a wrong shape.
  }
  if (membership.check(value)) return value
  throw new BrumeError('MEMBERSHIP_DAMAGED', `${pathOf(dir)} cannot be read`, {
    next: 'restore the file from a backup, or remove the data directory and join again'
  })
}

export const saveMembership = (dir: string, value: Membership): Promise<void> =>
  writeWhole(pathOf(dir), `${JSON.stringify(value, null, 2)}\n`)

export const forgetMembership = (dir: string): Promise<void> => rm(pathOf(dir), { force: true })
