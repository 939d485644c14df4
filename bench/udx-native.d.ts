/** What the bench `tunnel` uses of it. */
declare module 'udx-native' {
  import type { Duplex } from 'node:stream'

  interface UDXSocket {
    bind(port: number, host: string): void
    send(message: Buffer, port: number, host: string): Promise<boolean>
  }

  interface UDXStream extends Duplex {
    connect(socket: UDXSocket, remoteId: number, port: number, host: string): void
  }

  export default class UDX {
    createSocket(): UDXSocket
    createStream(id: number): UDXStream
  }
}
