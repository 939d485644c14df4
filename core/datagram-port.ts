/** A UDP port at which each who sends has a conversation of its own. */
import dgram from 'node:dgram'
import net from 'node:net'
import { Datagrams } from './datagrams.ts'

export interface DatagramPort {
  port: number
  /** With all its conversations. */
  close(): void
}

export interface DatagramPortOptions {
  address: string
  /** 0 for any that is free. */
  port: number
  /** Hears of each who sends and has no conversation, before its first datagram is received. */
  onClient: (client: Datagrams, address: string) => void
  /** Conversations at a time; the one that was quiet longest ends for one more. */
  maxClients?: number
  idleMs?: number
}

const MAX_CLIENTS = 1_024

/** @throws as `dgram` does, EADDRINUSE and EACCES among it */
export async function openDatagramPort({
  address,
  port,
  onClient,
  maxClients = MAX_CLIENTS,
  idleMs
}: DatagramPortOptions): Promise<DatagramPort> {
  const socket = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4')
  /** By address and port, the one that was quiet longest first. */
  const clients = new Map<string, Datagrams>()
  let isOpen = true

  const begin = (key: string, from: dgram.RemoteInfo): Datagrams => {
    const client: Datagrams = new Datagrams((datagram, done) => {
      if (!isOpen) return done()
      if (clients.get(key) === client) touch(key, client)
      socket.send(datagram, from.port, from.address, (error) => {
        if (error !== null) client.lose()
        done()
      })
    }, idleMs)
    const forget = (): void => {
      if (clients.get(key) === client) clients.delete(key)
    }
    client.once('over', forget)
    client.once('close', forget)
    // Whoever it is joined to hears of it by the close.
    client.on('error', () => {})
    return client
  }
  const touch = (key: string, client: Datagrams): void => {
    clients.delete(key)
    clients.set(key, client)
  }

  socket.on('message', (datagram, from) => {
    const key = `${from.address} ${from.port}`
    const known = clients.get(key)
    const client = known ?? begin(key, from)
    touch(key, client)
    if (clients.size > maxClients) clients.values().next().value?.finish()
    if (known === undefined) onClient(client, from.address)
    client.receive(datagram)
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind({ address, port }, () => {
      socket.off('error', reject)
      // Of who is gone: it sends no more, and its conversation ends by that.
      socket.on('error', () => {})
      resolve()
    })
  })
  return {
    port: socket.address().port,
    close() {
      isOpen = false
      for (const client of clients.values()) client.destroy()
      socket.close()
    }
  }
}
