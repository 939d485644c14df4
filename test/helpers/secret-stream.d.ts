/** The part of it the tests use: connections without a swarm. */
declare module '@hyperswarm/secret-stream' {
  import type { Duplex } from 'streamx'
  export default class NoiseSecretStream extends Duplex {
    constructor(
      isInitiator: boolean,
      rawStream: Duplex,
      options: { keyPair: { publicKey: Buffer; secretKey: Buffer } }
    )
  }
}
