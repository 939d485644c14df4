/** systemd as this node meets it: where its unit is, and what `systemctl` says and does. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { BrumeError } from '../../core/errors.ts'
import { dataDir as defaultDataDir, userId, type Env } from '../paths.ts'
import { unitName } from './unit.ts'
import type { Context } from './verb.ts'

export interface Place {
  unit: string
  /** Where the unit is, or would be. */
  path: string
  scope: 'system' | 'user'
}

/** BRUME_SERVICE_ROOT stands for `/`: to build an image of a disk, and in tests. */
export function whereFor({ dataDir, env }: Pick<Context, 'dataDir' | 'env'>): Place {
  const scope = userId() === 0 ? 'system' : 'user'
  const own = defaultDataDir(undefined, { ...env, BRUME_DATA: undefined })
  const unit = unitName(dataDir, own)
  const config = env.XDG_CONFIG_HOME?.startsWith('/')
    ? env.XDG_CONFIG_HOME
    : join(env.HOME || homedir(), '.config')
  const dir = scope === 'system' ? '/etc/systemd/system' : join(config, 'systemd/user')
  return { unit, scope, path: join(rootOf(env), dir, unit) }
}

/** The directory is there exactly while systemd is what started this machine. */
export const hasSystemd = (env: Env): boolean =>
  existsSync(join(rootOf(env), '/run/systemd/system'))

/** The unit that keeps a daemon of this directory running; null where none does. */
export async function keeper(context: Pick<Context, 'dataDir' | 'env'>): Promise<Place | null> {
  const place = whereFor(context)
  if (!existsSync(place.path) || !hasSystemd(context.env)) return null
  const active = await activeOf(place.unit, context)
  return ['active', 'activating', 'reloading'].includes(active) ? place : null
}

/** As systemd says: `active`, `inactive`, `failed`. */
export async function activeOf(unit: string, context: Pick<Context, 'env'>): Promise<string> {
  const { stdout } = await call(context, ['is-active', unit])
  return stdout.trim() || 'unknown'
}

/** @throws BrumeError SERVICE_FAILED */
export async function systemctl(context: Pick<Context, 'env'>, ...args: string[]): Promise<void> {
  const { code, stderr } = await call(context, args)
  if (code === 0) return
  throw new BrumeError(
    'SERVICE_FAILED',
    `systemctl ${args.join(' ')} failed: ${stderr.trim().split('\n')[0] || `exit code ${code}`}`,
    { next: `journalctl ${userId() === 0 ? '' : '--user '}-u ${args.at(-1)} shows why` }
  )
}

function call(
  { env }: Pick<Context, 'env'>,
  args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const scope = userId() === 0 ? [] : ['--user']
  return new Promise((resolve, reject) => {
    execFile(
      'systemctl',
      [...scope, ...args],
      { env, timeout: 60_000 },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number') {
          reject(
            new BrumeError('SERVICE_FAILED', `systemctl cannot be run: ${error.message}`, {
              cause: error
            })
          )
        } else resolve({ code: Number(error?.code ?? 0), stdout, stderr })
      }
    )
  })
}

const rootOf = (env: Env): string => env.BRUME_SERVICE_ROOT ?? '/'
