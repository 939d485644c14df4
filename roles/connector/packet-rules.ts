/**
 * What the kernel does for virtual addresses: packets from the networks of applications to one are led
 * to the port at which the Connector listens for it, and see no other port of this machine there. A
 * listener of its own on each address would take the port from, or lose it to, whoever listens on all
 * addresses. The only file that calls `ip` and `iptables`.
 */
import { execFile } from 'node:child_process'
import { BrumeError } from '../../core/errors.ts'
import { blockAddress, blockRange, VIRTUAL_RANGE } from './virtual.ts'

export interface Redirect {
  address: string
  port: number
  protocol: 'tcp' | 'udp'
  /** Port at the block's own address. */
  to: number
}

export interface LocalPort {
  protocol: 'tcp' | 'udp'
  port: number
}

/** Where containers are; see `roles/agent/docker/networks.ts`. */
const APP_RANGE = '10.214.0.0/17'
const LOCK_S = '5'
const CALL_MS = 15_000

/** The first address, with all of the range. */
const OWN = `${blockAddress(0)}/${VIRTUAL_RANGE.split('/')[1]}`

const chainOf = (block: number): string => `BRUME-${block}`

/** Whether this machine lets us; changes nothing. @throws BrumeError NAMES_IMPOSSIBLE, NAMES_FAILED */
export async function tryRules(): Promise<void> {
  await call('iptables-save', ['-t', 'nat'])
  await call('ip', ['addr', 'show', 'dev', 'lo'])
}

/** Makes all addresses of the range this machine's own: a packet to one never leaves it. Idempotent. */
export async function ownRange(): Promise<void> {
  await call('ip', ['addr', 'replace', OWN, 'dev', 'lo'])
}

/** Gives the range back, where no daemon of this machine has rules for a part of it. Idempotent. */
export async function leaveRange(): Promise<void> {
  const saved = await call('iptables-save', ['-t', 'nat'])
  if (/^:BRUME-/m.test(saved)) return
  const own = await call('ip', ['addr', 'show', 'dev', 'lo'])
  if (own.includes(` ${OWN} `)) await call('ip', ['addr', 'del', OWN, 'dev', 'lo'])
}

/** Puts these rules in the place of the block's own, at once. `closed`: ports of brume itself. */
export async function setRules(
  block: number,
  redirects: readonly Redirect[],
  closed: readonly LocalPort[]
): Promise<void> {
  await call('iptables-restore', ['--noflush', '-w', LOCK_S], rulesText(block, redirects, closed))
  for (const jump of jumps(block)) await ensure(jump)
}

/**
 * Drops packets to the block that do not come from where they say. Who sends is known by its address,
 * and a datagram, which nobody answers first, could be given any. Idempotent.
 *
 * @throws BrumeError NAMES_FAILED where the kernel has no `rpfilter`
 */
export async function dropForged(block: number): Promise<void> {
  const chain = chainOf(block)
  const rule = `-A ${chain} -m rpfilter --invert -j DROP`
  const text = ['*mangle', `:${chain} - [0:0]`, rule, 'COMMIT', ''].join('\n')
  await call('iptables-restore', ['--noflush', '-w', LOCK_S], text)
  await ensure(forgedJump(block))
}

/** Takes away what `setRules` and `dropForged` made. Idempotent. */
export async function clearRules(block: number): Promise<void> {
  const chain = chainOf(block)
  for (const { table } of [...jumps(block), forgedJump(block)]) {
    const saved = await call('iptables-save', ['-t', table])
    // All: one that is left holds the chain.
    const jumping = saved.split('\n').filter((line) => line.endsWith(` -j ${chain}`))
    const deletes = jumping.map((line) => line.replace(/^-A/, '-D'))
    const text = [`*${table}`, `:${chain} - [0:0]`, ...deletes, `-X ${chain}`, 'COMMIT', '']
    await call('iptables-restore', ['--noflush', '-w', LOCK_S], text.join('\n'))
  }
}

/** For `iptables-restore --noflush`: all of it or nothing. */
export function rulesText(
  block: number,
  redirects: readonly Redirect[],
  closed: readonly LocalPort[]
): string {
  const chain = chainOf(block)
  const range = blockRange(block)
  const led = redirects.map(
    ({ address, port, protocol, to }) =>
      `-A ${chain} -d ${address}/32 -p ${protocol} --dport ${port} ` +
      `-j DNAT --to-destination ${blockAddress(block)}:${to}`
  )
  const shut = closed.map(
    ({ protocol, port }) => `-A ${chain} -p ${protocol} --dport ${port} -j REJECT`
  )
  return [
    '*nat',
    `:${chain} - [0:0]`,
    ...led,
    // No rule of an engine for a port it publishes comes after.
    `-A ${chain} -d ${range} -j ACCEPT`,
    'COMMIT',
    '*filter',
    `:${chain} - [0:0]`,
    `-A ${chain} -d ${range} -m conntrack --ctstate DNAT -j ACCEPT`,
    `-A ${chain} -d ${range} -j REJECT`,
    ...shut,
    'COMMIT',
    ''
  ].join('\n')
}

interface Jump {
  table: string
  rule: string[]
}

async function ensure({ table, rule }: Jump): Promise<void> {
  const isThere = await call('iptables', ['-w', LOCK_S, '-t', table, '-C', ...rule])
    .then(() => true)
    .catch((error: unknown) => {
      if (error instanceof BrumeError && error.code === 'NAMES_FAILED') return false
      throw error
    })
  if (!isThere) await call('iptables', ['-w', LOCK_S, '-t', table, '-I', ...rule])
}

const forgedJump = (block: number): Jump => ({
  table: 'mangle',
  rule: ['PREROUTING', '-s', APP_RANGE, '-d', blockRange(block), '-j', chainOf(block)]
})

const jumps = (block: number): Jump[] => [
  {
    table: 'nat',
    rule: ['PREROUTING', '-s', APP_RANGE, '-d', blockRange(block), '-j', chainOf(block)]
  },
  { table: 'filter', rule: ['INPUT', '-s', APP_RANGE, '-j', chainOf(block)] }
]

/** @throws BrumeError NAMES_IMPOSSIBLE where it can never do so, NAMES_FAILED */
function call(program: string, args: string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { timeout: CALL_MS }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      reject(failureOf(program, error, stderr))
    })
    // A program that ends early closes it: what it said tells why.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}

function failureOf(program: string, error: Error & { code?: unknown }, stderr: string): BrumeError {
  if (error.code === 'ENOENT') {
    return new BrumeError('NAMES_IMPOSSIBLE', `names in containers need \`${program}\``, {
      next: 'apt-get install iproute2 iptables, then start the daemon again'
    })
  }
  const said = stderr.trim().split('\n')[0] ?? ''
  if (/permi(tted|ssion)/i.test(said)) {
    return new BrumeError('NAMES_IMPOSSIBLE', 'names in containers need the rights of root', {
      next: 'run the daemon as root: sudo brume service install'
    })
  }
  return new BrumeError('NAMES_FAILED', `${program} failed: ${said || error.message}`)
}
