import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { BrumeError } from '../../../core/errors.ts'
import type { Port } from '../../../core/state/microservices.ts'
import type { PublishedPort } from '../engine.ts'

const TRIES = 50

/**
 * The host port of each wanted one: the fixed one, the one it had before while that is free, else
 * a free one that `reserved` does not hold (`reservation()` of other containers' ports).
 *
 * @throws BrumeError PORT_IN_USE for a fixed port somebody listens on
 */
export async function assignPorts(
  wanted: Port[],
  before: PublishedPort[],
  reserved: ReadonlySet<string>,
  { checkFixed }: { checkFixed: boolean }
): Promise<PublishedPort[]> {
  const taken = new Set(reserved)
  const assigned: PublishedPort[] = []
  for (const [index, { container, host, protocol }] of wanted.entries()) {
    const kept = before[index]?.host
    let chosen = host
    if (host !== null) {
      if (checkFixed && !(await isFree(host, protocol))) throw inUse(host)
    } else if (kept !== undefined && (await isFree(kept, protocol))) chosen = kept
    else chosen = await freePort(protocol, taken)
    const port: PublishedPort = { container, host: chosen as number, protocol }
    taken.add(reservation(port))
    assigned.push(port)
  }
  return assigned
}

export function reservation({ host, protocol }: PublishedPort): string {
  return `${host}/${protocol}`
}

async function freePort(protocol: Port['protocol'], taken: ReadonlySet<string>): Promise<number> {
  const held: (() => Promise<void>)[] = []
  try {
    // Those refused stay bound until the end, or the kernel may give them again.
    for (let tries = 0; tries < TRIES; tries++) {
      const { port, release } = await bind(0, protocol)
      held.push(release)
      if (!taken.has(`${port}/${protocol}`)) return port
    }
  } finally {
    await Promise.all(held.map((release) => release()))
  }
  throw new BrumeError('ENGINE_FAILED', `no free ${protocol} port on this node`)
}

async function isFree(port: number, protocol: Port['protocol']): Promise<boolean> {
  try {
    const { release } = await bind(port, protocol)
    await release()
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') return false
    if (code === 'EACCES') {
      throw new BrumeError('ENGINE_FAILED', `port ${port} of this node is for root only`, {
        next: 'choose a host port of 1024 or more, or run the node as root',
        cause: error
      })
    }
    throw error
  }
}

interface Bound {
  port: number
  release: () => Promise<void>
}

async function bind(port: number, protocol: Port['protocol']): Promise<Bound> {
  return new Promise((resolve, reject) => {
    if (protocol === 'udp') {
      const socket = createSocket('udp4')
      socket.once('error', reject)
      socket.bind(port, '0.0.0.0', () => {
        const release = (): Promise<void> => new Promise((done) => socket.close(done))
        resolve({ port: socket.address().port, release })
      })
      return
    }
    const server = createServer()
    server.once('error', reject)
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => {
      const address = server.address() as { port: number }
      const release = (): Promise<void> => new Promise((done) => server.close(() => done()))
      resolve({ port: address.port, release })
    })
  })
}

function inUse(port: number): BrumeError {
  return new BrumeError('PORT_IN_USE', `port ${port} of this node is in use`, {
    next: `find who has it (\`ss -lptn sport = :${port}\`), or choose another host port`
  })
}
