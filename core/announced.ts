/**
 * Keeps servers of a DHT findable. An announcement that reaches nobody, since the uplink is away, is
 * made again by HyperDHT only minutes later, and until then nobody who asks the DHT finds this node.
 */
import type { Address, DhtServer } from 'hyperdht'

export interface Announcing {
  /** Its servers that listen. */
  readonly listening: ReadonlySet<DhtServer>
  /** null unless it is openly reachable. */
  remoteAddress(): Address | null
  /** DHT nodes it knows. */
  toArray(): Address[]
}

/** HyperDHT heeds what it is told within three seconds. */
export const LOOK_MS = 2_000

/** Asks for a new announcement of each server that no DHT node knows, where there is one to know it. */
export function announceLost(dht: Announcing): void {
  if (dht.toArray().length === 0) return
  const own = dht.remoteAddress()
  for (const server of dht.listening) {
    // An open node names itself beside those that know it.
    const known = server.relayAddresses.filter(
      ({ host, port }) => host !== own?.host || port !== own.port
    )
    if (known.length === 0) server.refresh()
  }
}
