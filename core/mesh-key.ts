/** The mesh key: one string a person can copy, that lets a node into a mesh. */
import z32 from 'z32'
import { hash, createKeyPair, toId, type KeyPair } from './crypto.ts'
import { BrumeError } from './errors.ts'

export interface MeshKey {
  /** Key of the base, 32 bytes: the mesh id. */
  meshId: Buffer
  /** 32 bytes; whoever holds it may admit itself. */
  joinSecret: Buffer
  keyEpoch: number
  /** HOST:PORT of DHT nodes; empty for the public ones. */
  bootstrap: string[]
}

const PREFIX = 'brume-'
const HEAD = 1 + 32 + 32 + 2
const CHECK = 4

/** version (1) | mesh id (32) | secret (32) | epoch (2) | bootstrap, comma-joined | checksum (4). */
export function encodeMeshKey(key: MeshKey): string {
  const head = Buffer.alloc(HEAD)
  head[0] = 1
  key.meshId.copy(head, 1)
  key.joinSecret.copy(head, 33)
  head.writeUInt16BE(key.keyEpoch, 65)
  const body = Buffer.concat([head, Buffer.from(key.bootstrap.join(','))])
  return PREFIX + z32.encode(Buffer.concat([body, checksum(body)]))
}

/** @throws BrumeError BAD_KEY: not a mesh key, or one with a letter lost or changed. */
export function decodeMeshKey(text: string): MeshKey {
  const bad = (why: string): BrumeError =>
    new BrumeError('BAD_KEY', `this is not a mesh key: ${why}`, {
      next: 'run `brume key` on a member and copy the whole line'
    })
  const trimmed = text.trim()
  if (!trimmed.startsWith(PREFIX)) throw bad(`a mesh key starts with "${PREFIX}"`)
  let bytes: Buffer
  try {
    bytes = Buffer.from(z32.decode(trimmed.slice(PREFIX.length)))
  } catch {
    throw bad('it holds characters that no mesh key has')
  }
  if (bytes.length < HEAD + CHECK) throw bad('it is too short, part of it is missing')
  const body = bytes.subarray(0, -CHECK)
  if (!checksum(body).equals(bytes.subarray(-CHECK))) {
    throw bad('its checksum does not fit, a letter is missing or changed')
  }
  if (body[0] !== 1) throw bad(`it is of version ${body[0]}, this brume knows version 1`)
  const rest = body.subarray(HEAD).toString()
  return {
    meshId: Buffer.from(body.subarray(1, 33)),
    joinSecret: Buffer.from(body.subarray(33, 65)),
    keyEpoch: body.readUInt16BE(65),
    bootstrap: rest === '' ? [] : rest.split(',')
  }
}

/** The key pair that signs admissions; the view knows only its public half. */
export const joinKeyPair = (secret: Buffer): KeyPair => createKeyPair(hash('join', secret))

/** Where members meet on the DHT. Depends on the mesh id alone, so that rotation never parts them. */
export const meshTopic = (meshId: Buffer): Buffer => hash('topic', meshId)

export const meshIdString = (meshId: Buffer): string => toId(meshId)

const checksum = (body: Buffer): Buffer => hash('mesh key', body).subarray(0, CHECK)
