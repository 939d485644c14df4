/**
 * Bundles: the files of microservices, a tar each, named by digest. They lie as blobs in the core
 * of the node they were deployed from; any node that holds the blocks serves them, so the author's
 * node may die. Blocks are encrypted at rest, verified by hypercore, and the whole by its digest.
 */
import { createHash } from 'node:crypto'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Transform, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import Hyperblobs from 'hyperblobs'
import type Hypercore from 'hypercore'
import { hash } from './crypto.ts'
import { mustHaveRoom } from './disk.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import type { Logger } from './logger.ts'
import type { Bundle } from './state/microservices.ts'
import type { Store } from './store.ts'

export const MAX_BUNDLE_BYTES = 32 * 1024 * 1024

export interface BundlesOptions {
  store: Store
  /** Where bundles are unpacked: `<dir>/<digest>/`. */
  dir: string
  encryptionKey: Buffer
  /** Names the core this node writes bundles to; another one where the end of the last may be lost. */
  era(): string
  log: Logger
  /** Told when a bundle became whole here. */
  onHeld(): void
}

export class Bundles {
  readonly #options: BundlesOptions
  readonly #encryption: { key: Buffer }
  readonly #cores = new Map<string, Hypercore>()
  readonly #held = new Set<string>()
  readonly #fetching = new Map<string, Promise<void>>()
  readonly #unpacking = new Map<string, Promise<string>>()

  constructor(options: BundlesOptions) {
    this.#options = options
    this.#encryption = { key: hash('bundles at rest', options.encryptionKey) }
  }

  /** Digests that are whole here. */
  get held(): ReadonlySet<string> {
    return this.#held
  }

  /**
   * Stores a tar; the same bytes again give the same digest.
   *
   * @throws BrumeError BUNDLE_TOO_LARGE.
   */
  async put(tar: Readable): Promise<Bundle> {
    await mustHaveRoom(dirname(this.#options.dir))
    const era = this.#options.era()
    const name = era === '' ? 'bundles' : `bundles/${era}`
    const core = this.#options.store.get({ name, encryption: this.#encryption })
    await core.ready()
    this.#cores.set(core.key.toString('hex'), core)
    const blobs = new Hyperblobs(core)
    const into = blobs.createWriteStream()
    const digest = createHash('sha256')
    let bytes = 0
    const count = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length
        digest.update(chunk)
        done(bytes > MAX_BUNDLE_BYTES ? tooLarge() : null, chunk)
      }
    })
    await pipeline(tar, count, into)
    const { blockOffset, blockLength, byteOffset } = into.id
    const bundle: Bundle = {
      digest: digest.digest('hex'),
      bytes,
      core: core.key.toString('hex'),
      blockOffset,
      blockLength,
      byteOffset
    }
    this.#hold(bundle.digest)
    return bundle
  }

  /** Fetches a bundle from whoever has it; resolves when it is whole and its digest is right. */
  fetch(bundle: Bundle): Promise<void> {
    if (this.#held.has(bundle.digest)) return Promise.resolve()
    const running = this.#fetching.get(bundle.digest)
    if (running !== undefined) return running
    const fetching = this.#fetch(bundle).finally(() => this.#fetching.delete(bundle.digest))
    this.#fetching.set(bundle.digest, fetching)
    return fetching
  }

  /** The bundle's files on this machine, fetched and unpacked where they are not yet. */
  unpacked(bundle: Bundle, signal: AbortSignal): Promise<string> {
    const running = this.#unpacking.get(bundle.digest)
    const unpacking =
      running ?? this.#unpack(bundle).finally(() => this.#unpacking.delete(bundle.digest))
    this.#unpacking.set(bundle.digest, unpacking)
    return Promise.race([unpacking, rejectOn(signal)])
  }

  /** The tar of a bundle, fetched where it is not here. */
  async *read(bundle: Bundle): AsyncGenerator<Buffer> {
    await this.fetch(bundle)
    yield* this.#read(await this.#core(bundle.core), bundle) as AsyncIterable<Buffer>
  }

  /** A fetch nobody waits for failed: it is tried again with the next news. */
  report(error: unknown): void {
    this.#options.log.warn({ error: sentenceOf(error) }, 'a bundle could not be fetched')
  }

  async close(): Promise<void> {
    for (const core of this.#cores.values()) await core.close()
  }

  async #fetch(bundle: Bundle): Promise<void> {
    const core = await this.#core(bundle.core)
    const range = { start: bundle.blockOffset, end: bundle.blockOffset + bundle.blockLength }
    const download = core.download(range)
    await download.done()
    const digest = createHash('sha256')
    for await (const chunk of this.#read(core, bundle) as AsyncIterable<Buffer>)
      digest.update(chunk)
    if (digest.digest('hex') !== bundle.digest) {
      throw new BrumeError(
        'BUNDLE_DAMAGED',
        `the bundle ${bundle.digest.slice(0, 12)} is not what was deployed: its digest differs`,
        { next: 'deploy the application again' }
      )
    }
    this.#hold(bundle.digest)
  }

  async #unpack(bundle: Bundle): Promise<string> {
    const target = join(this.#options.dir, bundle.digest)
    if (await isThere(target)) return target
    await this.fetch(bundle)
    const { extract } = await import('tar-fs')
    const part = `${target}.part`
    await rm(part, { recursive: true, force: true })
    await mkdir(part, { recursive: true, mode: 0o755 })
    const core = await this.#core(bundle.core)
    await pipeline(this.#read(core, bundle), extract(part, { dmode: 0o555, fmode: 0o444 }))
    await rename(part, target)
    return target
  }

  #read(core: Hypercore, bundle: Bundle): Readable {
    const { blockOffset, blockLength, byteOffset, bytes } = bundle
    return new Hyperblobs(core).createReadStream({
      blockOffset,
      blockLength,
      byteOffset,
      byteLength: bytes
    })
  }

  async #core(key: string): Promise<Hypercore> {
    let core = this.#cores.get(key)
    if (core === undefined) {
      core = this.#options.store.get({
        key: Buffer.from(key, 'hex'),
        encryption: this.#encryption
      })
      this.#cores.set(key, core)
    }
    await core.ready()
    return core
  }

  #hold(digest: string): void {
    if (this.#held.has(digest)) return
    this.#held.add(digest)
    this.#options.onHeld()
  }
}

const tooLarge = (): BrumeError =>
  new BrumeError(
    'BUNDLE_TOO_LARGE',
    `the bundle is larger than ${MAX_BUNDLE_BYTES / 1024 / 1024} MiB`,
    { next: 'leave out what the microservice does not need (node_modules of tools, media)' }
  )

async function isThere(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const abort = (): void => reject(new BrumeError('ABORTED', 'no longer wanted'))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
}
