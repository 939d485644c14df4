/** The systemd unit of a node: its text and its name, nothing else. */

export interface UnitOptions {
  /** Absolute. */
  dataDir: string
  /** Absolute paths and arguments of `brume daemon`, without `--data`. */
  command: string[]
  env: Record<string, string | undefined>
  /** A unit of root's systemd, or of a user's own. */
  scope: 'system' | 'user'
}

/** `brume.service`, or for a directory that is not the default `brume@…`-like with the path in it. */
export function unitName(dataDir: string, defaultDir: string): string {
  if (dataDir === defaultDir) return 'brume.service'
  const path = dataDir.replace(/^\/+/, '').replaceAll(/[^A-Za-z0-9._-]+/g, '-')
  return `brume-${path}.service`
}

/**
 * `KillMode=process`: what the daemon started outlives it, as it does a daemon that is stopped by
 * hand; the engine's containers are no children of it anyway. `RestartPreventExitStatus` is not set:
 * what ends a daemon at once (a full disk, a store that another holds) may pass.
 */
export function unitText({ dataDir, command, env, scope }: UnitOptions): string {
  const line = [...command, '--data', dataDir].map(escaped).join(' ')
  const set = Object.entries(env).flatMap(([key, value]) =>
    value === undefined ? [] : [`Environment=${escaped(`${key}=${value}`)}`]
  )
  return [
    '[Unit]',
    'Description=brume: this node of a mesh',
    ...(scope === 'system'
      ? ['Wants=network-online.target', 'After=network-online.target docker.service']
      : []),
    // A daemon that ends at once is started again for ever, not five times.
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    `ExecStart=${line}`,
    ...set,
    'Restart=always',
    'RestartSec=5',
    'KillMode=process',
    'TimeoutStopSec=30',
    '',
    '[Install]',
    `WantedBy=${scope === 'system' ? 'multi-user.target' : 'default.target'}`,
    ''
  ].join('\n')
}

/** As systemd reads arguments: quotes, and `%` and `$` that mean nothing. */
function escaped(word: string): string {
  const plain = word.replaceAll('%', '%%').replaceAll('$', '$$$$')
  if (/^[\w@%+=:,./$-]+$/.test(plain)) return plain
  return `"${plain.replaceAll(/["\\]/g, '\\$&')}"`
}
