/**
 * Bundles: the files of microservices, a tar each, named by digest. They lie as blobs in the core
 * of the node they were deployed from; any node that holds the blocks serves them, so the author's
 * node may die. Blocks are encrypted at rest, verified by hypercore, and the whole by its digest.
 */
import { createHash } from 'node:crypto'
import { chmod, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Transform, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import Hyperblobs from 'hyperblobs'
import type Hypercore from 'hypercore'
import { hash } from './crypto.ts'
import { placeOf, type Held } from './discard.ts'
import { mustHaveRoom } from './disk.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import { readIfThere, writeWhole } from './files.ts'
import type { Logger } from './logger.ts'
import type { Bundle } from './state/microservices.ts'
import type { Store } from './store.ts'

export const MAX_BUNDLE_BYTES = 32 * 1024 * 1024
/** Of one digest; more than were deployed anew within a grace would be odd. */
const MAX_PLACES = 64
const DIGEST = /^[0-9a-f]{64}$/

export interface BundlesOptions {
  store: Store
  /**
   * Where bundles are unpacked: `<dir>/<digest>/`, and beside it `<digest>.json`: where in the store
   * its blocks are (Bundle[]).
   */
  dir: string
  encryptionKey: Buffer
  /** Names the core this node writes bundles to; another one where the end of the last may be lost. */
  era(): string
  log: Logger
  /** Told when a bundle became whole here, or went. */
  onHeld(): void
}

export class Bundles {
  readonly #options: BundlesOptions
  readonly #encryption: { key: Buffer }
  readonly #cores = new Map<string, Hypercore>()
  readonly #held = new Set<string>()
  readonly #fetching = new Map<string, Promise<void>>()
  readonly #unpacking = new Map<string, Promise<string>>()
  #discarding: Promise<void> = Promise.resolve()

  constructor(options: BundlesOptions) {
    this.#options = options
    this.#encryption = { key: hash('bundles at rest', options.encryptionKey) }
  }

  /** Knows again what is here from before a restart: until then nothing counts as held. */
  async recall(): Promise<void> {
    for (const bundle of (await this.onDisk()).blocks) {
      if (this.#held.has(bundle.digest)) continue
      const core = await this.#core(bundle.core)
      const { blockOffset: start, blockLength } = bundle
      // Noted once it was whole and its digest right; a power cut may have taken of it.
      if (await core.has(start, start + blockLength)) this.#held.add(bundle.digest)
    }
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
    await this.#note(bundle)
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

  /** What of bundles is here, whether the view knows of it or not. */
  async onDisk(): Promise<Held> {
    const names = await namesIn(this.#options.dir)
    const blocks: Bundle[] = []
    for (const name of names) {
      if (name.endsWith('.json')) blocks.push(...(await this.#noted(name.slice(0, -5))))
    }
    return { unpacked: names.filter((name) => DIGEST.test(name)), blocks }
  }

  /** Frees their disk. What is being fetched or unpacked stays, and what is asked for again is fetched. */
  discard(plan: Held): Promise<void> {
    const discarding = this.#discarding.then(() => this.#discard(plan))
    this.#discarding = discarding.catch(() => {})
    return discarding
  }

  async #discard({ unpacked, blocks }: Held): Promise<void> {
    const isIdle = (digest: string): boolean =>
      !this.#fetching.has(digest) && !this.#unpacking.has(digest)
    for (const digest of unpacked) if (isIdle(digest)) await this.#removeFiles(digest)
    let cleared = false
    for (const bundle of blocks) {
      if (!isIdle(bundle.digest)) continue
      // Its note goes last: what was cut short in between is cleared again.
      const core = await this.#core(bundle.core)
      await core.clear(bundle.blockOffset, bundle.blockOffset + bundle.blockLength)
      await this.#forget(bundle)
      cleared = true
    }
    if (!cleared) return
    // Until then the store only marks them.
    await this.#options.store.storage.compact()
    this.#options.onHeld()
  }

  /** A fetch nobody waits for failed: it is tried again with the next news. */
  report(error: unknown): void {
    this.#options.log.warn({ error: sentenceOf(error) }, 'a bundle could not be fetched')
  }

  async close(): Promise<void> {
    await this.#discarding
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
    await this.#note(bundle)
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

  async #noted(digest: string): Promise<Bundle[]> {
    const bytes = await readIfThere(join(this.#options.dir, `${digest}.json`))
    if (bytes === null) return []
    try {
      return JSON.parse(bytes.toString()) as Bundle[]
    } catch {
      this.#options.log.warn({ digest }, 'the note of where a bundle is stored cannot be read')
      return []
    }
  }

  async #note(bundle: Bundle): Promise<void> {
    const noted = await this.#noted(bundle.digest)
    if (noted.some((other) => placeOf(other) === placeOf(bundle))) return
    await this.#writeNote(bundle.digest, [...noted, bundle].slice(-MAX_PLACES))
  }

  async #forget(bundle: Bundle): Promise<void> {
    const left = (await this.#noted(bundle.digest)).filter(
      (other) => placeOf(other) !== placeOf(bundle)
    )
    await this.#writeNote(bundle.digest, left)
    if (left.length === 0) this.#held.delete(bundle.digest)
  }

  async #writeNote(digest: string, bundles: Bundle[]): Promise<void> {
    const path = join(this.#options.dir, `${digest}.json`)
    if (bundles.length === 0) return rm(path, { force: true })
    await mkdir(this.#options.dir, { recursive: true, mode: 0o755 })
    await writeWhole(path, JSON.stringify(bundles))
  }

  /** Renamed first: what is half gone must not be taken for the whole. */
  async #removeFiles(digest: string): Promise<void> {
    const gone = join(this.#options.dir, `${digest}.gone`)
    await makeWritable(gone)
    await rm(gone, { recursive: true, force: true })
    await rename(join(this.#options.dir, digest), gone)
    await makeWritable(gone)
    await rm(gone, { recursive: true, force: true })
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

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Directories of bundles are read-only, so that nobody changes them; nor could they be removed. */
async function makeWritable(path: string): Promise<void> {
  if (!(await isThere(path))) return
  await chmod(path, 0o755)
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await makeWritable(join(path, entry.name))
  }
}

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
