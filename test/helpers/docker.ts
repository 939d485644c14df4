/** A Docker engine for the tests, and images for it, on a machine that may have neither. */
import { execFile } from 'node:child_process'
import { access, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import {
  ensureNodeImage,
  skeleton,
  tarOf,
  type ImageFile
} from '../../apps/quickstart/base-image.ts'
import { hasImage, importImage } from '../../roles/agent/docker/images.ts'
import { answers, startDockerd, type Dockerd } from './dockerd.ts'
import { endProcessesOf, isThere } from './leftovers.ts'

const run = promisify(execFile)

export const BUSYBOX = 'local/busybox:1'
export const NODE = 'local/node:20'

const HELP =
  'the engine tests need Docker: start it and let this user use /var/run/docker.sock, ' +
  'or run the tests as root on Debian, where they install docker.io and start their own'

let own: Promise<Dockerd> | undefined

/**
 * The socket of an engine for tests: the test runner's (BRUME_TEST_DOCKER), this machine's, or one
 * of our own that ends with this process. @throws a sentence that says what to do
 */
export async function dockerSocket(): Promise<string> {
  const given = process.env['BRUME_TEST_DOCKER']
  if (given) return given
  if (!own) {
    own = startDocker()
    own.then(
      (engine) => process.once('beforeExit', () => void engine.stop()),
      () => undefined
    )
  }
  return (await own).socketPath
}

/**
 * For the test runner, once a run: this machine's engine, else our own. `stop` ends our own and
 * leaves this machine's alone. @throws a sentence that says what to do
 */
export async function startDocker(): Promise<Dockerd> {
  const machine = '/var/run/docker.sock'
  if (await answers(machine))
    return { socketPath: machine, end: nothing, crash: nothing, stop: nothing }
  await installDocker()
  await cleanLeftovers()

  const dir = join(tmpdir(), `${PREFIX}${process.pid}`)
  const bridge = bridgeOf(process.pid)
  const subnet = process.pid % 250
  await run('ip', ['link', 'add', bridge, 'type', 'bridge'])
  try {
    await run('ip', ['addr', 'add', `10.78.${subnet}.1/24`, 'dev', bridge])
    await run('ip', ['link', 'set', bridge, 'up'])
    // Nothing of the machine's firewall or routing is touched; published ports go by docker-proxy.
    const args = ['--bridge', bridge, '--iptables=false', '--ip6tables=false', '--ip-forward=false']
    const engine = await startDockerd(dir, { args })
    const stop = async (): Promise<void> => {
      await engine.stop()
      await run('ip', ['link', 'del', bridge])
    }
    return { ...engine, stop }
  } catch (error) {
    await run('ip', ['link', 'del', bridge])
    throw error
  }
}

/** Makes the images of the tests where they are not there: `local/busybox:1`, `local/node:20`. */
export async function ensureImages(socketPath: string): Promise<void> {
  await Promise.all([ensureBusybox(socketPath), ensureNodeImage(socketPath, NODE)])
}

/** @throws a sentence that says what to do */
export async function installDocker(): Promise<void> {
  const needed = ['dockerd', 'iptables', 'ip', 'busybox', 'nsenter', 'unshare']
  const there = await Promise.all(needed.map(isInstalled))
  const isRoot = process.getuid?.() === 0
  if (!isRoot) throw new Error(HELP)
  if (!there.includes(false)) return
  if (!(await isInstalled('apt-get'))) throw new Error(HELP)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const packages = ['docker.io', 'iptables', 'iproute2', 'busybox-static']
  await run('apt-get', ['update', '-q'], { env })
  const options = ['-q', '-y', '--no-install-recommends']
  await run('apt-get', ['install', ...options, ...packages], { env, maxBuffer: 64 * 1024 * 1024 })
}

const PREFIX = 'brume-docker-'

async function nothing(): Promise<void> {}

function bridgeOf(pid: number): string {
  return `brt${pid}`
}

/** What runs that were killed left here. */
async function cleanLeftovers(): Promise<void> {
  for (const entry of await readdir(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)(?:-template)?$`).exec(entry)?.[1]
    if (pid === undefined || (await isThere(Number(pid)))) continue
    const dir = join(tmpdir(), entry)
    await endProcessesOf(`${dir}/`)
    await run('ip', ['link', 'del', bridgeOf(Number(pid))]).catch((error: Error) => {
      if (!/Cannot find device/.test(error.message)) throw error
    })
    await rm(dir, { recursive: true, force: true })
  }
}

async function ensureBusybox(socketPath: string): Promise<void> {
  if (await hasImage(socketPath, BUSYBOX)) return
  const busybox = await pathOf('busybox')
  if (busybox === null) throw new Error('local/busybox:1 is made of busybox-static: install it')
  const { stdout } = await run(busybox, ['--list'])
  const applets = stdout.trim().split('\n')
  const links = applets.filter((each) => each !== 'busybox')
  const files: ImageFile[] = [
    ...skeleton,
    { path: 'bin/busybox', from: busybox, mode: 0o755 },
    ...links.map((applet) => ({ path: `bin/${applet}`, link: 'busybox' }))
  ]
  const changes = ['ENV PATH=/bin', 'CMD ["/bin/sh"]']
  await importImage(socketPath, tarOf(files), BUSYBOX, changes)
}

async function isInstalled(program: string): Promise<boolean> {
  return (await pathOf(program)) !== null
}

async function pathOf(program: string): Promise<string | null> {
  const dirs = (process.env['PATH'] ?? '').split(delimiter)
  for (const dir of [...dirs, '/usr/sbin', '/sbin']) {
    const path = join(dir, program)
    const found = await access(path).then(
      () => true,
      () => false
    )
    if (found) return path
  }
  return null
}
