import test from 'brittle'
import { toId } from '../../core/crypto.ts'
import type { Reachability } from '../../core/reach.ts'
import { Whereabouts, type KnownMember } from '../../core/whereabouts.ts'

const idOf = (n: number): string => toId(Buffer.alloc(32, n))
const [SELF, FAR, RELAY, STRANGER] = [idOf(1), idOf(2), idOf(3), idOf(4)]
const [FAR_KEY, RELAY_KEY] = [idOf(12), idOf(13)]
const at = (port: number) => ({ host: '203.0.113.1', port })

function member(said: Partial<Reachability> & { relayKey: string }): KnownMember {
  const reachability: Reachability = { addresses: [], nat: 'easy', relays: false, ...said }
  return { alive: true, peers: [], reachability }
}

/** Among a member behind a NAT and one that relays. */
function whereabouts({ attempts = 0, isLost = false, nat = 'easy' as const } = {}): Whereabouts {
  const where = new Whereabouts({
    self: SELF,
    nat: () => nat,
    isLost: () => isLost,
    attempts: () => attempts
  })
  const members = new Map([
    [FAR, member({ relayKey: FAR_KEY, addresses: ['203.0.113.1:1', 'nonsense'] })],
    [RELAY, member({ relayKey: RELAY_KEY, nat: 'open', relays: true })]
  ])
  where.see({ members, links: [] })
  return where
}

test('whereabouts - a member is looked for where it was heard, then where it says; by either of its keys', (t) => {
  const where = whereabouts()
  t.alike(where.routeTo(FAR).addresses, [at(1)])
  t.is(where.hear(FAR, at(2)), -Infinity)
  t.ok(where.hear(FAR, at(3)) > -Infinity)
  t.alike(where.routeTo(FAR).addresses, [at(3), at(1)])
  t.alike(where.routeTo(FAR_KEY), where.routeTo(FAR))
  t.ok(where.isRelayKey(FAR_KEY))
  t.absent(where.isRelayKey(FAR))
})

test('whereabouts - what a member said is left out of every other dial, unless nobody else knows better', (t) => {
  t.alike(whereabouts({ attempts: 1 }).routeTo(FAR).addresses, [])
  t.alike(whereabouts({ attempts: 1, isLost: true }).routeTo(FAR).addresses, [at(1)])
  t.alike(whereabouts({ attempts: 2 }).routeTo(FAR).addresses, [at(1)])
})

test('whereabouts - two behind NATs have a relay, but none of those that are left out', (t) => {
  const where = whereabouts()
  t.is(toId(where.routeTo(FAR).relayThrough ?? Buffer.alloc(32)), RELAY_KEY)
  t.is(where.routeTo(FAR, [RELAY_KEY]).relayThrough, null)
  t.is(where.routeTo(RELAY).relayThrough, null, 'who is open needs none')
  where.hear(FAR, at(2))
  t.is(where.routeTo(FAR).relayThrough, null, 'nor does who is on this LAN')
})

test('whereabouts - strangers are kept until they are members, the latest 128 of them', (t) => {
  const where = whereabouts()
  t.absent(where.addStranger(SELF, [at(1)]))
  t.absent(where.addStranger(FAR, [at(1)]))
  t.ok(where.addStranger(STRANGER, [at(5)]))
  t.absent(where.addStranger(STRANGER, []), 'it is known')
  t.alike(where.routeTo(STRANGER), { addresses: [at(5)], relayThrough: null })
  for (let n = 100; n < 227; n++) where.addStranger(idOf(n), [])
  t.is(where.strangers.size, 128)
  where.addStranger(idOf(227), [])
  t.is(where.strangers.size, 128)
  t.absent(where.strangers.has(STRANGER), 'the oldest went')
  where.see({ members: new Map([[idOf(227), member({ relayKey: idOf(20) })]]), links: [] })
  t.absent(where.strangers.has(idOf(227)))
})

test('whereabouts - a punch is at random where an end draws ports, and never on a LAN', (t) => {
  const where = whereabouts()
  const said = { relayKey: FAR_KEY, nat: 'symmetric' as const }
  t.absent(where.isRandom(FAR))
  where.see({ members: new Map([[FAR, member(said)]]), links: [] })
  t.ok(where.isRandom(FAR))
  const near = member({ ...said, addresses: ['127.0.0.1:1'] })
  where.see({ members: new Map([[FAR, near]]), links: [] })
  t.absent(where.isRandom(FAR))
})
