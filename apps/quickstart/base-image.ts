import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { pack, type Pack } from 'tar-stream'
import { BrumeError } from '../../core/errors.ts'
import { hasImage, importImage } from '../../roles/agent/docker/images.ts'

const run = promisify(execFile)

/**
 * Makes image `name` where the engine does not have it: this machine's own `node`, the libraries
 * it needs, and a shell. Nothing is fetched from anywhere.
 *
 * @throws BrumeError ENGINE_UNREACHABLE, ENGINE_FORBIDDEN, ENGINE_FAILED
 */
export async function ensureNodeImage(socketPath: string, name: string): Promise<void> {
  if (await hasImage(socketPath, name)) return
  await importImage(socketPath, tarOf(await nodeFiles()), name, [
    'ENV PATH=/usr/local/bin:/usr/bin:/bin',
    'CMD ["node"]'
  ])
}

/** A file of an image: its path in there, and where it comes from or what it says. */
export type ImageFile =
  | { path: string; from: string; mode: number }
  | { path: string; text: string }
  | { path: string; link: string }
  | { path: string; directory: true; mode: number }

export async function nodeFiles(): Promise<ImageFile[]> {
  if (process.platform !== 'linux') {
    throw new BrumeError('ENGINE_FAILED', 'an image can be made of a Linux node binary only', {
      next: 'pull one: `docker pull node:20-slim`, and `docker tag` it as the image you need'
    })
  }
  const shell = await findShell()
  const libraries = new Set([
    ...(await librariesOf(process.execPath)),
    ...(await librariesOf(shell))
  ])
  return [
    ...skeleton,
    { path: 'usr/local/bin/node', from: process.execPath, mode: 0o755 },
    // A static busybox is every tool there is; another shell is just that.
    { path: 'bin/sh', from: shell, mode: 0o755 },
    ...[...libraries].map((from) => ({ path: from.slice(1), from, mode: 0o755 }))
  ]
}

/** What a program expects of any machine. */
export const skeleton: ImageFile[] = [
  { path: 'tmp', directory: true, mode: 0o1777 },
  { path: 'root', directory: true, mode: 0o700 },
  { path: 'etc/passwd', text: 'root:x:0:0:root:/root:/bin/sh\n' },
  { path: 'etc/group', text: 'root:x:0:\n' }
]

/** A tar of these files, read as it is sent. */
export function tarOf(files: ImageFile[]): Readable {
  const tar = pack()
  fill(tar, files).then(
    () => tar.finalize(),
    (error: Error) => tar.destroy(error)
  )
  return tar as unknown as Readable
}

async function fill(tar: Pack, files: ImageFile[]): Promise<void> {
  for (const file of files) {
    const name = file.path
    if ('link' in file) tar.entry({ name, type: 'symlink', linkname: file.link })
    else if ('directory' in file) tar.entry({ name, type: 'directory', mode: file.mode })
    else if ('text' in file) tar.entry({ name, mode: 0o644 }, file.text)
    else {
      const { size } = await stat(file.from)
      const entry = tar.entry({ name, size, mode: file.mode })
      await pipeline(createReadStream(file.from, { highWaterMark: 1024 * 1024 }), entry)
    }
  }
}

async function findShell(): Promise<string> {
  for (const candidate of ['/bin/busybox', '/usr/bin/busybox', '/bin/sh']) {
    const found = await realpath(candidate).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null
      throw error
    })
    if (found !== null) return found
  }
  throw new BrumeError('ENGINE_FAILED', 'this machine has no /bin/sh')
}

/** Absolute paths as the loader looks for them; none of a static program. */
async function librariesOf(program: string): Promise<string[]> {
  try {
    const { stdout } = await run('ldd', [program])
    return [...stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map((match) => match[1] as string)
  } catch (error) {
    const { stderr, stdout } = error as { stderr?: string; stdout?: string }
    if (/not a (?:valid )?dynamic/i.test(`${stderr}${stdout}`)) return []
    throw error
  }
}
