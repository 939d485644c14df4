import { resolve } from 'node:path'
import type { BackupHead, BackupLine } from '../../api.ts'
import { writeBackup } from '../backup-file.ts'
import type { Output, Verb } from '../verb.ts'

interface Answer {
  file: string
  bytes: number
}

export const backup: Verb<{ file: string }, Answer> = {
  describe(command) {
    command
      .argument(
        '<file>',
        'where to write it; it lets its holder into the mesh, so keep it as a key'
      )
      .addHelpText(
        'after',
        "\nIn it: applications with their files, labels, and the mesh key; no node's identity."
      )
  },

  parse: ([file = '']) => ({ file: resolve(file) }),

  async request({ file }, { client, err }) {
    return { file, bytes: await writeBackup(file, told(client.lines<BackupLine>('/backup'), err)) }
  },

  print({ file, bytes }, { out }) {
    out.write(`written: ${file} (${Math.ceil(bytes / 1024)} KiB)\n`)
  }
}

const TELL_MS = 1_000

/** Says every second how far it is, also while nothing comes: a bundle may be fetched from afar. */
export async function* told(
  lines: AsyncIterable<BackupLine>,
  err: Pick<Output, 'write'>,
  tellMs = TELL_MS
): AsyncGenerator<BackupLine, void> {
  let bytes = 0
  let all = 0
  const timer = setInterval(() => {
    const what =
      all === 0 ? 'what is desired' : `${mebibytes(bytes)} of ${mebibytes(all)} MiB of files`
    err.write(`reading ${what}\n`)
  }, tellMs)
  try {
    for await (const line of lines) {
      if ('head' in line) all = bundleBytes(line.head)
      else bytes += Buffer.byteLength(line.chunk, 'base64')
      yield line
    }
  } finally {
    clearInterval(timer)
  }
}

function bundleBytes({ applications }: BackupHead): number {
  const files = applications.flatMap(({ microservices }) =>
    microservices.flatMap(({ spec }) => spec.files ?? [])
  )
  const sizes = new Map(files.map(({ digest, bytes }) => [digest, bytes]))
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0)
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
