/**
 * Gossip on disk: the newest records, and when each node was last heard, in wall time, since boot
 * time ends with the boot. That time is for people only.
 */
import { fromId, seal, toId, unseal } from './crypto.ts'
import { readIfThere, writeWhole } from './files.ts'
import { decodeWires, encodeWires, type Wire } from './gossip-wire.ts'

export interface SavedGossip {
  records: Wire[]
  /** Wall ms by node id. */
  heardAt: Map<string, number>
}

const HEAD_BYTES = 4
const ENTRY_BYTES = 32 + 8

export async function saveGossip(path: string, key: Buffer, saved: SavedGossip): Promise<void> {
  await writeWhole(path, seal(encode(saved), key))
}

/** Null where there is no file; `'damaged'` where it is not what was saved with this key. */
export async function loadGossip(
  path: string,
  key: Buffer
): Promise<SavedGossip | 'damaged' | null> {
  const sealed = await readIfThere(path)
  if (sealed === null) return null
  const plain = unseal(sealed, key)
  return (plain === null ? null : decode(plain)) ?? 'damaged'
}

function encode({ records, heardAt }: SavedGossip): Buffer {
  const entries = [...heardAt].flatMap(([id, wallMs]) => {
    const node = fromId(id)
    if (node === null) return []
    const entry = Buffer.alloc(ENTRY_BYTES)
    node.copy(entry)
    entry.writeDoubleLE(wallMs, 32)
    return [entry]
  })
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32LE(entries.length)
  return Buffer.concat([head, ...entries, encodeWires(records)])
}

function decode(plain: Buffer): SavedGossip | null {
  if (plain.length < HEAD_BYTES) return null
  const count = plain.readUInt32LE()
  const end = HEAD_BYTES + count * ENTRY_BYTES
  if (end > plain.length) return null
  const heardAt = new Map<string, number>()
  for (let at = HEAD_BYTES; at < end; at += ENTRY_BYTES) {
    const wallMs = plain.readDoubleLE(at + 32)
    if (Number.isFinite(wallMs)) heardAt.set(toId(plain.subarray(at, at + 32)), wallMs)
  }
  return { records: decodeWires(plain.subarray(end)), heardAt }
}
