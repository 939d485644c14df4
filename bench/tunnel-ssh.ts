/** `ssh -L` between two hosts of a lab: a server with keys of its own, gone with the lab. */
import { access, chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Host } from '../test/helpers/lab.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import type { Via } from './tunnel-ends.ts'

const SSHD = '/usr/sbin/sshd'
const SSH_PORT = 2_222
const LOCAL_PORT = 8_022

/**
 * A port of `from` that leads to `port` on the loopback of `to`; null where no OpenSSH server is
 * installed.
 */
export async function startSshForward(from: Host, to: Host, port: number): Promise<Via | null> {
  if (
    !(await access(SSHD).then(
      () => true,
      () => false
    ))
  )
    return null
  const [hostKey, userKey] = [join(to.dir, 'ssh_host_key'), join(from.dir, 'ssh_key')]
  for (const key of [hostKey, userKey]) {
    await must(from, 'ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
  }
  const config = join(to.dir, 'sshd_config')
  await writeFile(
    config,
    [
      `ListenAddress ${to.ip}:${SSH_PORT}`,
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${userKey}.pub`,
      'PidFile none',
      'StrictModes no',
      'UsePAM no',
      'PermitRootLogin prohibit-password'
    ].join('\n')
  )
  await chmod(userKey, 0o600)
  // It wants a directory under /run, which is not ours to make.
  const started = `mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec ${SSHD} -D -e -f ${config}`
  to.spawn('unshare', ['--mount', 'sh', '-c', started], { stdio: ['ignore', 'ignore', 'ignore'] })
  const target = `${LOCAL_PORT}:127.0.0.1:${port}`
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'BatchMode=yes']
  const args = [
    ...['-F', 'none', '-i', userKey, '-p', String(SSH_PORT), '-N', '-L', target],
    ...options.flatMap((option) => ['-o', option]),
    ...['-o', 'ExitOnForwardFailure=yes', '-o', 'LogLevel=ERROR', `root@${to.ip}`]
  ]
  await waitUntil(async () => listens(to, SSH_PORT))
  from.spawn('ssh', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  await waitUntil(async () => listens(from, LOCAL_PORT))
  return { kind: 'tcp', host: '127.0.0.1', port: LOCAL_PORT }
}

async function must(host: Host, command: string, args: string[]): Promise<void> {
  const { code, stderr } = await host.exec(command, args)
  if (code !== 0) throw new Error(`${command}: ${stderr.trim()}`)
}

/** Whether a program of this host takes connections at a port. */
export async function listens(host: Host, port: number): Promise<boolean> {
  const { stdout } = await host.exec('ss', ['-Hltn', `sport = :${port}`])
  return stdout.trim() !== ''
}
