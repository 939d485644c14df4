import { resolve } from 'node:path'
import type { BackupLine } from '../../api.ts'
import { writeBackup } from '../backup-file.ts'
import type { Verb } from '../verb.ts'

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

  async request({ file }, { client }) {
    return { file, bytes: await writeBackup(file, client.lines<BackupLine>('/backup')) }
  },

  print({ file, bytes }, { out }) {
    out.write(`written: ${file} (${Math.ceil(bytes / 1024)} KiB)\n`)
  }
}
