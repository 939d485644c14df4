/** `brume forward`: a port of this machine leads to a replica on any node, until Ctrl-C. */
import { once } from 'node:events'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { openDatagramPort } from '../../../core/datagram-port.ts'
import { join, reset } from '../../../core/flow-stream.ts'
import { BrumeError, sentenceOf } from '../../../core/errors.ts'
import type { ForwardJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { usage } from '../options.ts'
import type { Context, Verb } from '../verb.ts'

interface Pair {
  local: number
  port: number
  protocol: 'tcp' | 'udp'
}

interface Input {
  ref: string
  pairs: Pair[]
  address: string
}

interface Listening {
  target: ForwardJson
  servers: Server[]
}

interface Server {
  pair: Pair
  at: string
  /** With all that is under way. */
  close(): void
}

export const forward: Verb<Input, Listening> = {
  streams: true,

  describe(command) {
    command
      .argument('<ref>', 'APP/MICROSERVICE[/SLOT], or MICROSERVICE')
      .argument('<ports...>', '[LOCAL:]PORT[/udp]: port of this machine, port of the container')
      .option('--address <ip>', 'address of this machine to listen on', '127.0.0.1')
  },

  parse([ref = '', ...ports], { address }) {
    const listensOn = String(address)
    if (net.isIP(listensOn) === 0) {
      throw usage(`--address: expected an IP address such as 0.0.0.0, got "${listensOn}"`)
    }
    return { ref, pairs: ports.map(readPair), address: listensOn }
  },

  async request({ ref, pairs, address }, context) {
    const target = await context.client.get<ForwardJson>(withQuery('/flows/target', { ref }))
    const servers: Server[] = []
    try {
      for (const pair of pairs) {
        const lead = (client: Duplex): void => void carry(client, ref, pair, context)
        const listen = pair.protocol === 'udp' ? listenUdp : listenTcp
        const { port, close } = await listen(pair.local, address, lead)
        const at = net.isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`
        servers.push({ pair, at, close })
      }
    } catch (error) {
      for (const server of servers) server.close()
      throw error
    }
    return { target, servers }
  },

  async print({ target, servers }, context) {
    const { out, err, json } = context
    const interrupt = context.interrupt()
    const { application, microservice, slot } = target
    const what = `${application}/${microservice}${slot === null ? '' : `/${slot}`}`
    for (const { at, pair } of servers) {
      const { port, protocol } = pair
      if (json) out.write(`${JSON.stringify({ listening: at, target: what, port, protocol })}\n`)
      else out.write(`${at} → ${what} port ${port}${protocol === 'udp' ? '/udp' : ''}\n`)
    }
    if (target.replicas.length === 0) err.write(`no replica of ${what} is up and healthy yet\n`)
    if (!interrupt.aborted) await once(interrupt, 'abort')
    for (const server of servers) server.close()
  }
}

/** One connection of this machine to whichever replica takes it. */
async function carry(
  client: Duplex,
  ref: string,
  { port, protocol }: Pair,
  { client: daemon, err }: Context
): Promise<void> {
  // Until it is joined, the close is all that need be known.
  client.on('error', () => {})
  try {
    const flow = await daemon.flow(withQuery('/flows', { ref, port: String(port), protocol }))
    if (client.destroyed) reset(flow)
    else join(client, flow)
  } catch (error) {
    err.write(`${sentenceOf(error)}\n`)
    reset(client)
  }
}

type Listened = Pick<Server, 'close'> & { port: number }

/** @throws BrumeError PORT_IN_USE, USAGE */
async function listenTcp(
  port: number,
  address: string,
  lead: (client: Duplex) => void
): Promise<Listened> {
  /** Connections under way. */
  const open = new Set<net.Socket>()
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    lead(socket)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(cannotListen(error, port, address)))
    server.listen(port, address, resolve)
  })
  return {
    port: (server.address() as net.AddressInfo).port,
    close() {
      server.close()
      for (const socket of open) socket.destroy()
    }
  }
}

/** @throws BrumeError PORT_IN_USE, USAGE */
async function listenUdp(
  port: number,
  address: string,
  lead: (client: Duplex) => void
): Promise<Listened> {
  try {
    return await openDatagramPort({ address, port, onClient: lead })
  } catch (error) {
    throw cannotListen(error as Error, port, address)
  }
}

function cannotListen(error: NodeJS.ErrnoException, port: number, address: string): Error {
  if (error.code === 'EADDRINUSE') {
    return new BrumeError('PORT_IN_USE', `another program listens on ${address}:${port}`, {
      next: 'take another port of this machine, or a free one with `:PORT`'
    })
  }
  if (error.code === 'EACCES') {
    return usage(
      `port ${port}: only root listens there`,
      `take another one: ${port + 8000}:${port}`
    )
  }
  return usage(`cannot listen on ${address}:${port}: ${sentenceOf(error)}`)
}

/** `8080:80`, `80`, `53/udp`; `:80` takes any free port. */
function readPair(text: string): Pair {
  const found = /^(?:(\d{0,5}):)?(\d{1,5})(?:\/(tcp|udp))?$/.exec(text)
  const port = Number(found?.[2])
  const local = found?.[1] === undefined ? port : Number(found[1])
  const protocol = found?.[3] === 'udp' ? 'udp' : 'tcp'
  if (port >= 1 && port <= 65_535 && local <= 65_535) return { local, port, protocol }
  throw usage(`expected [LOCAL:]PORT[/udp] such as 8080:80, got "${text}"`)
}
