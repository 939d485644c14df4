/** Packs a directory into the tar the mesh ships: same files, same bytes, wherever it is packed. */
import {
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  type Stats
} from 'node:fs'
import { isAbsolute, join, normalize, posix, sep } from 'node:path'
import { pack, type Pack } from 'tar-stream'
import { BrumeError } from '../../core/errors.ts'

export const MAX_BUNDLE_BYTES = 32 * 1024 * 1024

/**
 * Names sorted by code unit; no times, no owners; of the mode only whether it can be run.
 *
 * @param at where the directory was asked for, for messages: `app.yaml: microservices[0].files`.
 * @throws BrumeError BUNDLE_TOO_LARGE, BUNDLE_REFUSED: something that cannot travel (a link out of
 * the directory, a device, a socket), BUNDLE_NOT_FOUND: no directory there.
 */
export async function packBundle(dir: string, at: string): Promise<Buffer> {
  const root = realRoot(dir, at)
  const entries = list(root, '', at)
  const bytes = entries.reduce((sum, e) => sum + (e.stat.isFile() ? e.stat.size : 0), 0)
  if (bytes > MAX_BUNDLE_BYTES) throw tooLarge(dir, bytes, entries, at)
  const tar = pack()
  const packed = collect(tar)
  for (const entry of entries) add(tar, root, entry, at)
  tar.finalize()
  const bundle = await packed
  // Headers count as well: what is sent is what must fit.
  if (bundle.length > MAX_BUNDLE_BYTES) throw tooLarge(dir, bundle.length, entries, at)
  return bundle
}

interface Entry {
  /** Relative to the root, with slashes. */
  name: string
  stat: Stats
}

function realRoot(dir: string, at: string): string {
  try {
    const root = realpathSync.native(dir)
    if (lstatSync(root).isDirectory()) return root
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unreadable(at, dir, error)
    throw new BrumeError('BUNDLE_NOT_FOUND', `${at}: there is no directory ${dir}`, {
      next: 'the path is relative to the application file',
      cause: error
    })
  }
  throw new BrumeError('BUNDLE_NOT_FOUND', `${at}: ${dir} is not a directory`, {
    next: 'put the files into a directory of their own and name that'
  })
}

function list(root: string, under: string, at: string): Entry[] {
  const path = join(root, under)
  let names: string[]
  try {
    names = readdirSync(path).sort()
  } catch (error) {
    throw unreadable(at, path, error)
  }
  return names.flatMap((base) => {
    const name = under === '' ? base : `${under}/${base}`
    const stat = lstatSync(join(root, name))
    const entry: Entry = { name, stat }
    return stat.isDirectory() ? [entry, ...list(root, name, at)] : [entry]
  })
}

function add(tar: Pack, root: string, { name, stat }: Entry, at: string): void {
  const path = join(root, name)
  const common = { mtime: new Date(0), uid: 0, gid: 0 }
  if (stat.isDirectory()) {
    tar.entry({ name: `${name}/`, type: 'directory', mode: 0o755, ...common })
  } else if (stat.isSymbolicLink()) {
    const linkname = checkedLink(root, name, at)
    tar.entry({ name, type: 'symlink', linkname, mode: 0o777, ...common })
  } else if (stat.isFile()) {
    const mode = (stat.mode & 0o111) === 0 ? 0o644 : 0o755
    let content: Buffer
    try {
      content = readFileSync(path)
    } catch (error) {
      throw unreadable(at, path, error)
    }
    tar.entry({ name, type: 'file', mode, size: content.length, ...common }, content)
  } else {
    throw refused(`${at}: ${path} is neither a file, a directory nor a link, and cannot be shipped`)
  }
}

/** INVARIANT: what a link in a bundle points to is in the bundle, by its words and on this disk. */
function checkedLink(root: string, name: string, at: string): string {
  const target = readlinkSync(join(root, name))
  const words = posix.normalize(posix.join(posix.dirname(name), target))
  const leaves = isAbsolute(target) || words === '..' || words.startsWith('../')
  if (leaves || !staysInside(root, join(root, name))) {
    throw refused(`${at}: the link ${name} points out of the directory, to ${target}`)
  }
  return target
}

function staysInside(root: string, link: string): boolean {
  try {
    // Native: Node's own takes `..` in a link by its words, not as the kernel walks it.
    const real = realpathSync.native(link)
    return real === root || real.startsWith(normalize(root + sep))
  } catch (error) {
    // A link to nothing is kept as it is: its words were checked.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true
    throw error
  }
}

async function collect(tar: Pack): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function tooLarge(dir: string, bytes: number, entries: Entry[], at: string): BrumeError {
  const files = entries.filter((e) => e.stat.isFile()).sort((a, b) => b.stat.size - a.stat.size)
  const [largest] = files
  const hint = largest ? `; the largest is ${largest.name} with ${mib(largest.stat.size)}` : ''
  return new BrumeError(
    'BUNDLE_TOO_LARGE',
    `${at}: ${dir} holds ${mib(bytes)}, a bundle may have ${mib(MAX_BUNDLE_BYTES)}${hint}`,
    { next: 'leave out what is not needed to run, or put it into the image' }
  )
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`

const refused = (message: string): BrumeError =>
  new BrumeError('BUNDLE_REFUSED', message, { next: 'remove it, or put it into the image' })

function unreadable(at: string, path: string, cause: unknown): BrumeError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
  return new BrumeError('BUNDLE_REFUSED', `${at}: cannot read ${path} (${code})`, { cause })
}
