/** Disks of our own: an ext4 in a file, mounted; what a power cut leaves of it; one that is full. */
import { execFile } from 'node:child_process'
import { copyFile, constants, mkdir, truncate, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { promisify } from 'node:util'
import { endProcessesOf } from './leftovers.ts'
import { waitUntil } from './wait.ts'

const run = promisify(execFile)

export interface Disk {
  /** Where it is mounted. */
  path: string
  /** What is on the disk itself now: not what the kernel has still to write. */
  cut(image: string): Promise<void>
  /** Takes the disk out, and puts in the one that `cut` made. */
  replace(image: string): Promise<void>
  /** As ext4 does on an error of the disk: read-only from now on, whoever writes. */
  fail(): Promise<void>
}

/** Needs root. At the test's end all that uses it is ended, and it is unmounted. */
export async function createDisk(
  t: { teardown(fn: () => unknown, options?: object): void },
  path: string,
  bytes: number
): Promise<Disk> {
  let image = `${path}.img`
  await mkdir(path, { recursive: true })
  await writeFile(image, '')
  await truncate(image, bytes)
  await run('mkfs.ext4', ['-q', '-F', '-m', '0', image])
  const mount = async (): Promise<void> => {
    await run('mount', ['-o', 'loop,errors=remount-ro', image, path])
    await run('chmod', ['700', path])
  }
  // Busy for a moment after its last process ended.
  const unmount = (): Promise<unknown> =>
    waitUntil(
      () =>
        run('umount', [path]).then(
          () => true,
          () => false
        ),
      20_000
    )
  await mount()
  t.teardown(
    async () => {
      await endProcessesOf(`${path}/`)
      await unmount()
    },
    { force: true }
  )
  return {
    path,
    cut: (copy) => copyFile(image, copy, constants.COPYFILE_FICLONE),
    async replace(other) {
      await unmount()
      image = other
      await mount()
    },
    async fail() {
      const { stdout } = await run('findmnt', ['-n', '-o', 'SOURCE', path])
      const device = basename(stdout.trim())
      await writeFile(`/sys/fs/ext4/${device}/trigger_fs_error`, '1')
    }
  }
}
