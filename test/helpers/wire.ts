/**
 * Bad links for a lab: frames are lost and delayed at random on their way from a host to the
 * switch, by a process that carries them, since not every kernel has netem. Needs python3.
 *
 *   const wire = await degrade(lab, { lossPercent: 2, jitterMs: 300 })
 *   await wire.mend()                       // { carried, lost, dropped } frames
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createInterface } from 'node:readline'
import type { Host, Lab } from './lab.ts'

export interface Wire {
  /** Cables again; what the wire did. May be called once. */
  mend(): Promise<{ carried: number; lost: number; dropped: number }>
}

export interface Badness {
  /** Of the frames a host sends. */
  lossPercent: number
  /** Each frame a host sends waits so long; default 0. */
  delayMs?: number
  /** And from 0 to so long more, on its own: order is lost too. */
  jitterMs: number
}

const PROGRAM = join(import.meta.dirname, 'wire.py')
const run = promisify(execFile)

/** What goes over a host's cable while `act` does: bytes, and how many frames have `text` in clear. */
export async function tapped(
  host: Host,
  text: string,
  act: () => Promise<unknown>
): Promise<{ bytes: number; found: number }> {
  const child = host.spawn('python3', [PROGRAM, 'tap', 'eth0', text], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  if (child.stdin === null || child.stdout === null) throw new Error('a tap has pipes')
  const lines = createInterface(child.stdout)
  await once(lines, 'line')
  await act()
  child.stdin.end()
  const [line] = (await once(lines, 'line')) as [string]
  const [bytes = 0, found = 0] = line.split(' ').map(Number)
  return { bytes, found }
}

/** Between every host and the switch, for as long as the lab stands or until `mend`. */
export async function degrade(
  lab: Lab,
  { lossPercent, delayMs = 0, jitterMs }: Badness
): Promise<Wire> {
  const ports = lab.hosts.map(({ name }) => name.slice(1))
  const [first] = lab.hosts
  if (first === undefined) throw new Error('the lab has no hosts')
  const switchNamespace = `${first.namespace.slice(0, -first.name.length)}sw`
  const ip = async (lines: string[]): Promise<void> => {
    const sent = run('nsenter', [`--net=${switchNamespace}`, 'ip', '-batch', '-'])
    sent.child.stdin?.end(`${lines.join('\n')}\n`)
    await sent
  }
  for (const host of lab.hosts) {
    const { code, stderr } = await host.exec('python3', [PROGRAM, 'whole', 'eth0'])
    if (code !== 0) throw new Error(`a bad wire needs python3: ${stderr.trim()}`)
  }
  await ip(
    ports.flatMap((n) => [
      `link add w${n} type veth peer name v${n}`,
      `link set w${n} up`,
      `link set v${n} up`,
      `link set v${n} master br0`
    ])
  )
  const pairs = ports.map((n) => `p${n}:w${n}`)
  const args = [PROGRAM, 'carry', ...[lossPercent, delayMs, jitterMs].map(String), ...pairs]
  const child = spawn('nsenter', [`--net=${switchNamespace}`, '--', 'python3', ...args], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(child, 'exit')
  child.stdout.setEncoding('utf8')
  await Promise.race([
    once(child.stdout, 'data'),
    ended.then(() => Promise.reject(new Error('the wire ended')))
  ])
  await ip(ports.map((n) => `link set p${n} nomaster`))
  return {
    async mend() {
      await ip(ports.flatMap((n) => [`link set p${n} master br0`, `link del w${n}`]))
      const last = once(child.stdout, 'data')
      child.kill('SIGTERM')
      const [text] = (await Promise.race([last, ended.then(() => [''])])) as [string]
      await ended
      const count = (name: string): number => Number(new RegExp(`${name} (\\d+)`).exec(text)?.[1])
      return { carried: count('carried'), lost: count('lost'), dropped: count('dropped') }
    }
  }
}
