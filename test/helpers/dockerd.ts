import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { dockerApi } from './docker-api.ts'
import { endProcessesOf } from './leftovers.ts'

const READY_MS = 30_000
const STOP_MS = 15_000

export interface Dockerd {
  socketPath: string
  /** Ends it, with its containers. */
  end(): Promise<void>
  /** Ends it and all it runs, as if the power went; its data stays. */
  crash(): Promise<void>
  /** Ends it and removes all its data. */
  stop(): Promise<void>
}

/**
 * Starts a dockerd that has everything under `dir` (made here), in a mount namespace of its own:
 * daemons would share /run/docker, and its mounts go with it. `namespace`: path of the network
 * namespace it works in.
 */
export async function startDockerd(
  dir: string,
  { namespace, args = [] }: { namespace?: string; args?: string[] } = {}
): Promise<Dockerd> {
  await mkdir(dir, { recursive: true })
  const socketPath = join(dir, 'docker.sock')
  const logPath = join(dir, 'dockerd.log')
  const script =
    'mkdir -p /run/docker && mount -t tmpfs tmpfs /run/docker && exec dockerd ' +
    '--data-root "$0/data" --exec-root "$0/exec" -p "$0/dockerd.pid" -H "unix://$0/docker.sock" "$@"'
  // Not `ip netns exec`: it hides the cgroups.
  const enter = namespace ? ['nsenter', `--net=${namespace}`] : []
  const [command, ...rest] = [...enter, 'unshare', '-m', 'sh', '-c', script, dir, ...args]
  const log = await open(logPath, 'a')
  const child = spawn(command as string, rest, {
    stdio: ['ignore', log.fd, log.fd],
    detached: true
  })
  await once(child, 'spawn')
  await log.close()
  child.unref()
  const exited = once(child, 'exit')
  let running = true
  void exited.then(() => (running = false))

  const crash = (): Promise<void> => endProcessesOf(`${dir}/`, running ? [child.pid as number] : [])
  const end = async (): Promise<void> => {
    if (running) {
      await removeContainers(socketPath)
      child.ref()
      child.kill('SIGTERM')
      const patience = new AbortController()
      const late = sleep(STOP_MS, undefined, { signal: patience.signal }).catch(() => undefined)
      await Promise.race([exited, late])
      patience.abort()
    }
    await crash()
  }
  const stop = async (): Promise<void> => {
    await end()
    await rm(dir, { recursive: true, force: true })
  }

  const until = performance.now() + READY_MS
  while (!(await answers(socketPath))) {
    if (running && performance.now() < until) {
      await sleep(25)
      continue
    }
    const said = (await readFile(logPath, 'utf8')).trim().split('\n').slice(-3).join('\n')
    await stop()
    throw new Error(`dockerd ${running ? 'is not ready' : 'ended'}: ${said}`)
  }
  return { socketPath, end, crash, stop }
}

export async function answers(socketPath: string): Promise<boolean> {
  try {
    return (await dockerApi(socketPath, 'GET', '/_ping', undefined, 2000)).status === 200
  } catch {
    // Not there, not ready, frozen or not for us: no engine for tests either way.
    return false
  }
}

/** dockerd gives each container 10 s to end; nobody waits for these. */
async function removeContainers(socketPath: string): Promise<void> {
  if (!(await answers(socketPath))) return
  const { body } = await dockerApi(socketPath, 'GET', '/containers/json?all=true')
  const removals = (body as { Id: string }[]).map(({ Id }) =>
    dockerApi(socketPath, 'DELETE', `/containers/${Id}?force=true&v=true`)
  )
  await Promise.all(removals)
}
