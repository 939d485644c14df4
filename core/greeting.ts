/**
 * How two nodes know each other before anything else goes over a socket: Noise (IK), which leaves
 * both with a secret that nobody else can have, even if their keys are stolen later. The only door to
 * noise-handshake.
 */
import type { Socket } from 'node:net'
import curve from 'noise-curve-ed'
import Noise from 'noise-handshake'
import { hash, type KeyPair } from './crypto.ts'

const PROLOGUE = Buffer.from('brume data port')
const HELLO_BYTES = 96
const ANSWER_BYTES = 48

/** From who dials. The secret, 32 bytes. Rejects where who answers does not hold `key`. */
export async function greet(socket: Socket, keyPair: KeyPair, key: Buffer): Promise<Buffer> {
  const noise = new Noise('IK', true, keyPair, { curve })
  noise.initialise(PROLOGUE, key)
  socket.write(noise.send())
  noise.recv(await read(socket, ANSWER_BYTES))
  return hash('data port', noise.tx, noise.rx)
}

/**
 * To who dialled: its key, and the secret. Rejects, with nothing said, where the key is not allowed.
 * That it is there now, and nobody says again what it once said, shows in that it knows the secret.
 */
export async function greeted(
  socket: Socket,
  keyPair: KeyPair,
  allows: (key: Buffer) => boolean
): Promise<{ key: Buffer; secret: Buffer }> {
  const noise = new Noise('IK', false, keyPair, { curve })
  noise.initialise(PROLOGUE)
  noise.recv(await read(socket, HELLO_BYTES))
  const key = Buffer.from(noise.rs)
  if (!allows(key)) throw new Error('it is no member')
  socket.write(noise.send())
  return { key, secret: hash('data port', noise.rx, noise.tx) }
}

/** So many bytes and no more. Rejects where it ends before. */
function read(socket: Socket, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const bytes = socket.read(length) as Buffer | null
      if (bytes?.length !== length) return
      socket.off('readable', look).off('close', lost)
      resolve(bytes)
    }
    const lost = (): void => reject(socket.errored ?? new Error('it hung up'))
    socket.on('readable', look)
    socket.once('close', lost)
  })
}
