/** A conversation in datagrams with a port of a container. */
import dgram from 'node:dgram'
import { Datagrams } from '../../core/datagrams.ts'

/** What befalls one datagram and says nothing of the next. */
const PASSING = new Set(['EMSGSIZE', 'ENOBUFS'])

/** It ends with an error when that machine says that nobody is there. */
export async function dialDatagrams(
  door: { host: string; port: number },
  signal: AbortSignal
): Promise<Datagrams> {
  signal.throwIfAborted()
  const socket = dgram.createSocket('udp4')
  // Only what comes from there is heard.
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.connect(door.port, door.host, (error?: Error) => {
      if (error) reject(error)
      else resolve()
    })
  }).catch((error: unknown) => {
    socket.close()
    throw error
  })
  socket.removeAllListeners('error')
  let isOpen = true
  const onError = (error: NodeJS.ErrnoException): void => {
    if (PASSING.has(error.code ?? '')) datagrams.lose()
    else datagrams.destroy(error)
  }
  const datagrams: Datagrams = new Datagrams((datagram, done) => {
    if (!isOpen) return done()
    socket.send(datagram, (error) => {
      if (error !== null && isOpen) onError(error)
      done()
    })
  })
  // Between here and `join` an error must not end the daemon; `join` sees it by the close.
  datagrams.on('error', () => {})
  datagrams.once('close', () => {
    isOpen = false
    socket.close()
  })
  socket.on('error', onError)
  socket.on('message', (datagram) => datagrams.receive(datagram))
  return datagrams
}
