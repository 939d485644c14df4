/** Mesh keys and invites: one string a person can copy, that lets a node into a mesh. */
import z32 from 'z32'
import { hash, createKeyPair, toId, type KeyPair } from './crypto.ts'
import { BrumeError } from './errors.ts'

export interface MeshKey {
  /** The key of the mesh, or an invite: one join key among others, with an end. */
  kind: 'key' | 'invite'
  /** Key of the base, 32 bytes: the mesh id. */
  meshId: Buffer
  /** 32 bytes; whoever holds it may admit itself. */
  joinSecret: Buffer
  /** 8 bytes, `checkOf` the mesh's encryption key: by it a newcomer knows a member from a stranger. */
  encryptionCheck: Buffer
  /** HOST:PORT of DHT nodes; empty for the public ones. */
  bootstrap: string[]
}

const PREFIX = 'brume-'
const KINDS = { 1: 'key', 2: 'invite' } as const
const HEAD = 1 + 32 + 32 + 8
const CHECK = 4

/** kind (1) | mesh id (32) | secret (32) | encryption check (8) | bootstrap, comma-joined | checksum (4). */
export function encodeMeshKey(key: MeshKey): string {
  const head = Buffer.alloc(HEAD)
  head[0] = key.kind === 'key' ? 1 : 2
  key.meshId.copy(head, 1)
  key.joinSecret.copy(head, 33)
  key.encryptionCheck.copy(head, 65)
  const body = Buffer.concat([head, Buffer.from(key.bootstrap.join(','))])
  return PREFIX + z32.encode(Buffer.concat([body, checksum(body)]))
}

/** @throws BrumeError BAD_KEY: not a mesh key, or one with a letter lost or changed. */
export function decodeMeshKey(text: string): MeshKey {
  const bad = (why: string): BrumeError =>
    new BrumeError('BAD_KEY', `this is neither a mesh key nor an invite: ${why}`, {
      next: 'run `brume key` or `brume invite new` on a member and copy the whole line'
    })
  const trimmed = text.trim()
  if (!trimmed.startsWith(PREFIX)) throw bad(`both start with "${PREFIX}"`)
  const letters = trimmed.slice(PREFIX.length)
  let bytes: Buffer
  try {
    bytes = Buffer.from(z32.decode(letters))
  } catch {
    throw bad('it holds characters that none has')
  }
  if (bytes.length < HEAD + CHECK) throw bad('it is too short, part of it is missing')
  const body = bytes.subarray(0, -CHECK)
  // The last letter carries fewer bits than it could: without it, or with another, the bytes may be the same.
  const asWritten = z32.encode(bytes) === letters
  if (!asWritten || !checksum(body).equals(bytes.subarray(-CHECK))) {
    throw bad('its checksum does not fit, a letter is missing or changed')
  }
  const kind = KINDS[body[0] as keyof typeof KINDS] as MeshKey['kind'] | undefined
  if (kind === undefined) throw bad(`it is of a kind (${body[0]}) that only a later brume knows`)
  const rest = body.subarray(HEAD).toString()
  return {
    kind,
    meshId: Buffer.from(body.subarray(1, 33)),
    joinSecret: Buffer.from(body.subarray(33, 65)),
    encryptionCheck: Buffer.from(body.subarray(65, 73)),
    bootstrap: rest === '' ? [] : rest.split(',')
  }
}

/** The key pair that signs admissions; the view knows only its public half. */
export const joinKeyPair = (secret: Buffer): KeyPair => createKeyPair(hash('join', secret))

export const checkOf = (encryptionKey: Buffer): Buffer =>
  hash('encryption check', encryptionKey).subarray(0, 8)

/** Where members meet on the DHT. Depends on the mesh id alone, so that rotation never parts them. */
export const meshTopic = (meshId: Buffer): Buffer => hash('topic', meshId)

export const meshIdString = (meshId: Buffer): string => toId(meshId)

const checksum = (body: Buffer): Buffer => hash('mesh key', body).subarray(0, CHECK)
