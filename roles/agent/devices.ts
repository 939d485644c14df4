/**
 * Device files of this node. There is no news of what is plugged in that every system has: they are looked
 * for now and then.
 */
import { stat } from 'node:fs/promises'
import type { LookoutComponents } from './lookout.ts'

/** How they are looked for; a reset takes one away for a second. */
export const DEVICES: Pick<LookoutComponents, 'isThere' | 'everyMs' | 'againMs'> = {
  isThere: isDevice,
  everyMs: 10_000,
  againMs: 3_000
}

/** Also a directory of them, as /dev/snd. */
export async function isDevice(path: string): Promise<boolean> {
  try {
    const found = await stat(path)
    return found.isCharacterDevice() || found.isBlockDevice() || found.isDirectory()
  } catch {
    return false
  }
}
