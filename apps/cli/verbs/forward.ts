/** `brume forward`: a port of this machine leads to a replica on any node, until Ctrl-C. */
import { once } from 'node:events'
import net, { type Server, type Socket } from 'node:net'
import { join, reset } from '../../../core/flow-stream.ts'
import { BrumeError, sentenceOf } from '../../../core/errors.ts'
import type { ForwardJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { usage } from '../options.ts'
import type { Context, Verb } from '../verb.ts'

interface Pair {
  local: number
  port: number
}

interface Input {
  ref: string
  pairs: Pair[]
  address: string
}

interface Listening {
  target: ForwardJson
  servers: { server: Server; port: number; at: string }[]
  /** Connections under way, to be ended with the command. */
  open: Set<Socket>
}

export const forward: Verb<Input, Listening> = {
  streams: true,

  describe(command) {
    command
      .argument('<ref>', 'APP/MICROSERVICE[/SLOT], or MICROSERVICE')
      .argument('<ports...>', '[LOCAL:]PORT: port of this machine, port of the container')
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
    const servers: Listening['servers'] = []
    const open = new Set<Socket>()
    try {
      for (const { local, port } of pairs) {
        const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
          open.add(socket)
          socket.once('close', () => open.delete(socket))
          void carry(socket, ref, port, context)
        })
        await listen(server, local, address)
        const { port: bound } = server.address() as net.AddressInfo
        servers.push({
          server,
          port,
          at: net.isIPv6(address) ? `[${address}]:${bound}` : `${address}:${bound}`
        })
      }
    } catch (error) {
      for (const { server } of servers) server.close()
      throw error
    }
    return { target, servers, open }
  },

  async print({ target, servers, open }, context) {
    const { out, err, json } = context
    const interrupt = context.interrupt()
    const { application, microservice, slot } = target
    const what = `${application}/${microservice}${slot === null ? '' : `/${slot}`}`
    for (const { at, port } of servers) {
      if (json) out.write(`${JSON.stringify({ listening: at, target: what, port })}\n`)
      else out.write(`${at} → ${what} port ${port}\n`)
    }
    if (target.replicas.length === 0) err.write(`no replica of ${what} is up and healthy yet\n`)
    if (!interrupt.aborted) await once(interrupt, 'abort')
    for (const { server } of servers) server.close()
    for (const socket of open) socket.destroy()
  }
}

/** One connection of this machine to whichever replica takes it. */
async function carry(
  socket: Socket,
  ref: string,
  port: number,
  { client, err }: Context
): Promise<void> {
  // Until it is joined, the close is all that need be known.
  socket.on('error', () => {})
  try {
    const flow = await client.flow(withQuery('/flows', { ref, port: String(port) }))
    if (socket.destroyed) reset(flow)
    else join(socket, flow)
  } catch (error) {
    err.write(`${sentenceOf(error)}\n`)
    reset(socket)
  }
}

/** @throws BrumeError PORT_IN_USE, USAGE */
async function listen(server: Server, port: number, address: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(cannotListen(error, port, address))
    )
    server.listen(port, address, resolve)
  })
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

/** `8080:80`, `80`; `:80` takes any free port. */
function readPair(text: string): Pair {
  const found = /^(?:(\d{0,5}):)?(\d{1,5})$/.exec(text)
  const port = Number(found?.[2])
  const local = found?.[1] === undefined ? port : Number(found[1])
  if (port >= 1 && port <= 65_535 && local <= 65_535) return { local, port }
  throw usage(`expected [LOCAL:]PORT such as 8080:80, got "${text}"`)
}
