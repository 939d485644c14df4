/** Certificates and their keys, as files of this node: read when they changed. */
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext, type SecureContext } from 'node:tls'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import type { Rule } from './exposed.ts'

export type Pair = NonNullable<Rule['tls']>

export interface Certificate {
  cert: Buffer
  key: Buffer
  context: SecureContext
}

const MAX_BYTES = 1024 * 1024

export class Certificates {
  readonly #known = new Map<string, { stamp: string; certificate: Certificate }>()

  /**
   * `problem`: why they cannot be used as they are now; `certificate`: what they were when they could.
   */
  async load(pair: Pair): Promise<{ certificate: Certificate | null; problem: string | null }> {
    const key = keyOf(pair)
    const before = this.#known.get(key)
    try {
      const stamp = `${await stampOf(pair.cert)} ${await stampOf(pair.key)}`
      if (before?.stamp === stamp) return { certificate: before.certificate, problem: null }
      const certificate = await read(pair)
      this.#known.set(key, { stamp, certificate })
      return { certificate, problem: null }
    } catch (error) {
      return { certificate: before?.certificate ?? null, problem: sentenceOf(error) }
    }
  }

  /** Forgets the others. */
  keep(pairs: readonly Pair[]): void {
    const kept = new Set(pairs.map(keyOf))
    for (const key of this.#known.keys()) if (!kept.has(key)) this.#known.delete(key)
  }
}

const keyOf = ({ cert, key }: Pair): string => `${cert}\0${key}`

/** Changes when the file does. @throws BrumeError BAD_CERTIFICATE */
async function stampOf(path: string): Promise<string> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw bad(error.code === 'ENOENT' ? `there is no ${path}` : `${path} cannot be read`)
  })
  if (!found.isFile() || found.size > MAX_BYTES) throw bad(`${path} is no file of PEM`)
  return `${found.ino} ${found.size} ${found.mtimeMs}`
}

/** @throws BrumeError BAD_CERTIFICATE */
async function read(pair: Pair): Promise<Certificate> {
  const bytes = async (path: string): Promise<Buffer> =>
    await readFile(path).catch(() => {
      throw bad(`${path} cannot be read`)
    })
  const [cert, key] = await Promise.all([bytes(pair.cert), bytes(pair.key)])
  if (!cert.includes('-----BEGIN CERTIFICATE')) throw bad(`${pair.cert} holds no certificate`)
  try {
    return { cert, key, context: createSecureContext({ cert, key }) }
  } catch {
    // Nothing of what is in them belongs into a sentence.
    throw bad(`${pair.key} is no key for ${pair.cert}`)
  }
}

const bad = (message: string): BrumeError => new BrumeError('BAD_CERTIFICATE', message)
