import { Duplex } from 'node:stream'
import test, { type Assert } from 'brittle'
import { createKeyPair, toId } from '../../core/crypto.ts'
import type { BrumeError } from '../../core/errors.ts'
import { silent } from '../../core/logger.ts'
import { Ways, type WideArea, type Wire } from '../../core/tunnel-ways.ts'
import type { Connection } from '../../core/swarm.ts'
import { waitUntil } from '../helpers/wait.ts'

const nothing = (): void => {}

test('tunnel ways - a punch that comes through is taken, and no relay is asked', async (t) => {
  const { ways, dialled } = world(t, { direct: 'opens', relayed: ['opens'] })
  t.is(await kindOf(ways.dial('b')), 'direct')
  t.alike([...dialled.keys()], ['direct'])
})

test('tunnel ways - where no punch can work a relay is asked at once', async (t) => {
  const { ways } = world(t, { direct: 'fails', relayed: ['opens'] })
  t.is(await kindOf(ways.dial('b')), 'relayed')
})

test('tunnel ways - a punch that hangs does not hold up a flow, and is hung up on when it comes late', async (t) => {
  const { ways, dialled } = world(t, { direct: 'hangs', relayed: ['opens'] })
  t.is(await kindOf(ways.dial('b')), 'relayed')
  const late = dialled.get('direct')
  late?.emit('open')
  await waitUntil(() => late?.destroyed === true)
})

test('tunnel ways - a slow punch is waited for where no relay is known', async (t) => {
  const { ways, dialled, asked } = world(t, { direct: 'hangs', relayed: [] })
  const dial = ways.dial('b')
  await waitUntil(() => asked() > 0)
  dialled.get('direct')?.emit('open')
  t.is(await kindOf(dial), 'direct')
})

test('tunnel ways - what looks for a better way takes no relay', async (t) => {
  const { ways, dialled } = world(t, { direct: 'fails', relayed: ['opens'] })
  await unreachable(t, ways.dial('b', 'direct'))
  await unreachable(t, ways.dial('b', 'near'))
  t.alike([...dialled.keys()], ['direct'])
})

test('tunnel ways - where nothing leads there it says so', async (t) => {
  await unreachable(t, world(t, { direct: 'fails', relayed: ['fails'] }).ways.dial('b'))
  await unreachable(t, world(t, { direct: 'fails', relayed: [] }).ways.dial('b'))
})

test('tunnel ways - a relay that keeps quiet is not waited for while there is another', async (t) => {
  const { ways, dialled } = world(t, { direct: 'fails', relayed: ['hangs', 'fails', 'opens'] })
  t.is(await kindOf(ways.dial('b')), 'relayed')
  t.alike([...dialled.keys()], ['direct', 'relay 1', 'relay 2', 'relay 3'])
  t.ok(dialled.get('relay 1')?.destroyed === false, 'it may still come')
  dialled.get('relay 1')?.emit('open')
  await waitUntil(() => dialled.get('relay 1')?.destroyed === true)
})

type Fate = 'opens' | 'fails' | 'hangs'

/** A node that knows of `b`, which is on no LAN of its, and of relays with a fate each. */
function world(
  t: Assert,
  fates: { direct: Fate; relayed: Fate[] }
): { ways: Ways; dialled: Map<string, Connection>; asked: () => number } {
  const dialled = new Map<string, Connection>()
  const dial = (way: string, fate: Fate): Connection => {
    const connection = connectionThat(fate)
    dialled.set(way, connection)
    return connection
  }
  let asked = 0
  const wide: WideArea = {
    host: '127.0.0.1',
    takeData: nothing,
    dialData: () => dial('direct', fates.direct),
    dialRelayed(_node, _key, _keys, { length }) {
      asked++
      const fate = fates.relayed[length]
      const relay = `relay ${length + 1}`
      return fate === undefined ? null : { connection: dial(relay, fate), relay }
    },
    pathOf: (connection) => ({
      kind: connection === dialled.get('direct') ? 'direct' : 'relayed',
      relayKey: null,
      address: ''
    })
  }
  const body = { key: toId(createKeyPair().publicKey), port: 1 }
  const ways = new Ways(
    {
      keyPair: createKeyPair(),
      wide,
      isMember: () => true,
      said: () => new Map([['b', { body }]]),
      saidNet: () => null,
      log: silent
    },
    nothing
  )
  t.teardown(() => ways.close())
  return { ways, dialled, asked: () => asked }
}

function connectionThat(fate: Fate): Connection {
  const duplex = new Duplex({ read: nothing, write: (_chunk, _encoding, done) => done() })
  if (fate === 'opens') setImmediate(() => duplex.emit('open'))
  if (fate === 'fails') setImmediate(() => duplex.destroy(new Error('no punch')))
  return duplex as unknown as Connection
}

async function kindOf(dial: Promise<Wire>): Promise<string> {
  const wire = await dial
  // It ends with the world.
  wire.line.start({ onBytes: nothing, onRoom: nothing, onClose: nothing })
  return wire.path().kind
}

async function unreachable(t: Assert, dial: Promise<unknown>): Promise<void> {
  try {
    await dial
    t.fail('it was reached')
  } catch (error) {
    t.is((error as BrumeError).code, 'NODE_UNREACHABLE')
  }
}
