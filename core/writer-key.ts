import Hypercore from 'hypercore'

/** The key of the oplog core that the holder of this Ed25519 key writes: nobody else can. */
export const writerKeyOf = (nodeKey: Buffer): Buffer =>
  Hypercore.key({ version: 1, signers: [{ publicKey: nodeKey }] })
