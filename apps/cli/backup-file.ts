/**
 * A backup: one JSON object a line, and as the last the SHA-256 of all before it. It lets its holder
 * into the mesh, as `mesh.json` of any node does, and is 0600 for that; no node's key is in it.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import type { BackupHead, BackupLine } from '../api.ts'

const FORMAT = 1
const FIRST = `{"brume":"backup","format":${FORMAT}}`

/** Whole or not at all. Gives its size in bytes. @throws BrumeError BACKUP_FAILED */
export async function writeBackup(path: string, lines: AsyncIterable<BackupLine>): Promise<number> {
  const part = `${path}.part`
  try {
    // Never over what another left there: its mode may let others read.
    await rm(part, { force: true })
    const file = await open(part, 'wx', 0o600)
    let bytes = 0
    try {
      const digest = createHash('sha256')
      const write = async (line: string): Promise<void> => {
        digest.update(`${line}\n`)
        bytes += (await file.write(`${line}\n`)).bytesWritten
      }
      await write(FIRST)
      for await (const line of lines) await write(JSON.stringify(line))
      bytes += (await file.write(`{"sha256":"${digest.digest('hex')}"}\n`)).bytesWritten
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(part, path)
    return bytes
  } catch (cause) {
    await rm(part, { force: true })
    if (cause instanceof BrumeError) throw cause
    throw new BrumeError('BACKUP_FAILED', `cannot write ${path}: ${sentenceOf(cause)}`, { cause })
  }
}

/**
 * What is desired in a backup, checked to its end.
 *
 * @throws BrumeError BACKUP_UNREADABLE, NO_BACKUP, BACKUP_NEWER, BACKUP_DAMAGED.
 */
export async function readBackup(path: string): Promise<BackupHead> {
  let head: BackupHead | null = null
  for await (const line of linesOf(path)) if ('head' in line) head = line.head
  if (head === null) throw damaged(path)
  return head
}

/** The tar of one bundle after another. Of a file that `readBackup` has checked. */
export async function* bundlesOf(path: string): AsyncGenerator<{ digest: string; tar: Buffer }> {
  let digest = ''
  let chunks: Buffer[] = []
  for await (const line of linesOf(path)) {
    if (!('bundle' in line)) continue
    if (line.bundle !== digest) {
      if (digest !== '') yield { digest, tar: Buffer.concat(chunks) }
      digest = line.bundle
      chunks = []
    }
    chunks.push(Buffer.from(line.chunk, 'base64'))
  }
  if (digest !== '') yield { digest, tar: Buffer.concat(chunks) }
}

async function* linesOf(path: string): AsyncGenerator<BackupLine> {
  const digest = createHash('sha256')
  let isFirst = true
  let sum: string | null = null
  try {
    for await (const text of createInterface({ input: createReadStream(path), crlfDelay: 0 })) {
      if (isFirst) checkFirst(text, path)
      const line = isFirst ? null : parse(text, path)
      if (sum !== null) throw damaged(path)
      if (line !== null && 'sha256' in line) sum = line.sha256
      else digest.update(`${text}\n`)
      isFirst = false
      if (line !== null && !('sha256' in line)) yield line
    }
  } catch (cause) {
    if (cause instanceof BrumeError) throw cause
    throw new BrumeError('BACKUP_UNREADABLE', `cannot read ${path}: ${sentenceOf(cause)}`, {
      cause
    })
  }
  if (isFirst) throw noBackup(path)
  if (sum !== digest.digest('hex')) throw damaged(path)
}

function checkFirst(text: string, path: string): void {
  if (text === FIRST) return
  const format = /^\{"brume":"backup","format":(\d+)\}$/.exec(text)?.[1]
  if (format === undefined) throw noBackup(path)
  throw new BrumeError(
    'BACKUP_NEWER',
    `${path} is a backup of format ${format}, this brume knows format ${FORMAT}`,
    { next: 'restore it with a newer brume' }
  )
}

function parse(text: string, path: string): BackupLine | { sha256: string } {
  try {
    return JSON.parse(text) as BackupLine
  } catch {
    throw damaged(path)
  }
}

const noBackup = (path: string): BrumeError =>
  new BrumeError('NO_BACKUP', `${path} is no backup of brume`, {
    next: 'brume backup FILE makes one'
  })

const damaged = (path: string): BrumeError =>
  new BrumeError(
    'BACKUP_DAMAGED',
    `${path} is damaged: its checksum does not fit, or its end is missing`,
    {
      next: 'use another backup'
    }
  )
