import { readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { LeaveRequest, LeaveResult } from '../../api.ts'
import { quoted } from '../../paths.ts'
import { untilEnded } from '../background.ts'
import type { Verb } from '../verb.ts'

interface Wish extends LeaveRequest {
  purge: boolean
}

interface Answer extends LeaveResult {
  /** The data directory is gone. */
  purged: boolean
}

export const leave: Verb<Wish, Answer> = {
  describe(command) {
    command
      .option(
        '--purge',
        'remove the logs and the data directory as well; volumes are kept and named'
      )
      .option('--force', 'also where no other member is in reach, or none is left')
  },

  parse: (_, options) => ({ purge: options.purge === true, force: options.force === true }),

  async request({ purge, force }, { client, dataDir, err }) {
    const tell = (line: string): void => err.write(`${line}\n`)
    const result = await client.progress<LeaveResult>('/leave', { force }, tell)
    await untilEnded(result.pid)
    const purged = purge && (await removeDir(dataDir))
    return { ...result, purged }
  },

  print({ mesh, containers, volumes, purged }, { out, dataDir }) {
    out.write(`left mesh ${mesh.slice(0, 8)}; ${containers.length} containers removed\n`)
    for (const name of containers) out.write(`  ${name}\n`)
    if (volumes.length > 0) out.write('volumes are kept; remove them where nobody needs them:\n')
    for (const { volume, place } of volumes) out.write(`  ${volume}: ${removal(place)}\n`)
    const isLeft = volumes.some(({ place }) => place.startsWith('/'))
    const what = isLeft ? 'its volumes' : 'its logs'
    out.write(purged ? `${dataDir} is gone\n` : `${what} are in ${dataDir}\n`)
  }
}

/** Docker's name of a volume, or a directory. */
const removal = (place: string): string =>
  place.startsWith('/') ? `rm -r ${quoted(place)}` : `docker volume rm ${place}`

const OURS = /^daemon\.(?:early\.)?log|\.sock$/

/** What brume wrote there and, where nothing else is in it, the directory. */
async function removeDir(dir: string): Promise<boolean> {
  for (const name of await readdir(dir)) {
    if (OURS.test(name)) await rm(join(dir, name), { force: true })
  }
  if ((await readdir(dir)).length > 0) return false
  await rmdir(dir)
  return true
}
