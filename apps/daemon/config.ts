/** What a node was told when it entered its mesh and cannot learn again: `config.json`. */
import { join } from 'node:path'
import { BrumeError } from '../../core/errors.ts'
import { readIfThere, writeWhole } from '../../core/files.ts'
import type { EngineChoice } from '../api.ts'

export interface Config {
  engine: EngineChoice
  /** Carry packets of other members where this node is openly reachable. */
  relay: boolean
  /** Containers reach microservices by name, by rules for this machine's packets. */
  names: boolean
}

const ENGINES: EngineChoice[] = ['auto', 'docker', 'process', 'none']

/** The defaults where there is no file. @throws BrumeError CONFIG_DAMAGED */
export async function loadConfig(dir: string): Promise<Config> {
  const path = join(dir, 'config.json')
  const bytes = await readIfThere(path)
  if (bytes === null) return { engine: 'auto', relay: true, names: true }
  try {
    const { engine, relay = true, names = true } = JSON.parse(bytes.toString()) as Partial<Config>
    if (engine !== undefined && ENGINES.includes(engine)) return { engine, relay, names }
  } catch {
    // Said below, together with an engine nobody knows.
  }
  throw new BrumeError('CONFIG_DAMAGED', `${path}: expected { "engine": "${ENGINES.join('|')}" }`, {
    next: 'mend the file and start the daemon again'
  })
}

export const saveConfig = (dir: string, config: Config): Promise<void> =>
  writeWhole(join(dir, 'config.json'), `${JSON.stringify(config)}\n`)
