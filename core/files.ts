/** Files that are there whole or not at all, also after a power cut. */
import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Writes beside `path`, flushes, and renames over it. */
export async function writeWhole(path: string, data: Buffer | string, mode = 0o600): Promise<void> {
  const part = `${path}.part`
  const file = await open(part, 'w', mode)
  try {
    await file.writeFile(data)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(part, path)
  await syncDir(dirname(path))
}

/** Makes the names in a directory last. */
export async function syncDir(path: string): Promise<void> {
  const dir = await open(path, 'r')
  try {
    await dir.sync()
  } finally {
    await dir.close()
  }
}

/** The file's bytes; null where there is no such file. */
export async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
