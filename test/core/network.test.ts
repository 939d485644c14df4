import test from 'brittle'
import { nextHop, whyDown, whyUp } from '../../core/network.ts'
import { relayFor, type RelayChoice } from '../../core/relay.ts'
import type { Link } from '../../core/links.ts'

const links = (...ids: string[]): Link[] => ids.map((id) => ({ id }) as Link)
const peers = (all: Record<string, string[]>) =>
  new Map(
    Object.entries(all).map(([id, peers]) => [
      id,
      { peers, ended: [], answers: [], uptimeRank: 0, session: '' }
    ])
  )

test('network - the next hop is the first of the shortest way, over nodes that are alive', (t) => {
  const saidLinks = peers({ b: ['me', 'c'], c: ['b', 'd'], e: ['me', 'd'], d: ['c', 'e'] })
  const alive = new Set(['me', 'b', 'c', 'd', 'e'])
  const at = { self: 'me', links: links('b', 'e'), alive, saidLinks }
  t.is(nextHop('c', at), 'b')
  t.is(nextHop('d', at), 'e')
  t.is(nextHop('b', at), 'b')
  t.is(nextHop('x', at), null)
})

test('network - why a link is as it is', (t) => {
  t.is(whyUp({ kind: 'direct' }, 'easy', 'easy'), 'punched: both NATs keep ports')
  t.is(
    whyUp({ kind: 'relayed' }, 'symmetric', 'symmetric'),
    'neither NAT keeps ports, so none can be punched'
  )
  t.is(whyUp({ kind: 'direct' }, 'easy', 'open'), 'it is openly reachable')
  t.is(whyUp({ kind: 'lan' }, 'unknown', 'unknown'), 'both are on one network')
  t.is(whyDown('n2', null), 'no link needed: reached through n2')
  t.is(
    whyDown(null, { dialling: false, attempts: 2, lastError: 'it hung up', nextInMs: 2_100 }),
    'not reached, last error: it hung up, next try in 3 s'
  )
})

const relay = (id: string, more: Partial<RelayChoice> = {}): RelayChoice => ({
  id,
  relayKey: `key of ${id}`,
  linked: false,
  linksTarget: false,
  ...more
})

test('relay - a pair behind NATs gets one at once, an open end only after a failure', (t) => {
  const me = { id: 'me', nat: 'symmetric' as const }
  const target = { id: 'x', nat: 'easy' as const, onMyLan: false }
  const all = [relay('a'), relay('b', { linked: true }), relay('me'), relay('x')]
  t.is(relayFor(me, target, 0, all)?.id, 'b', 'the one a link leads to')
  t.is(relayFor(me, { ...target, nat: 'open' }, 0, all), null)
  t.is(relayFor(me, { ...target, onMyLan: true }, 0, all), null)
  t.is(relayFor(me, { ...target, onMyLan: true }, 1, all)?.id, 'b')
  t.is(relayFor(me, target, 0, [relay('me'), relay('x')]), null, 'no end relays for itself')
  const both = relay('c', { linked: true, linksTarget: true })
  t.is(relayFor(me, target, 0, [...all, both])?.id, 'c', 'best the one both know')
})

test('relay - both ends choose the same of two that are alike', (t) => {
  const all = [relay('a'), relay('b'), relay('c')]
  const easy = { nat: 'easy' as const, onMyLan: false }
  const one = relayFor({ id: 'p', nat: 'easy' }, { id: 'q', ...easy }, 0, all)
  const other = relayFor({ id: 'q', nat: 'easy' }, { id: 'p', ...easy }, 0, [...all].reverse())
  t.is(one?.id, other?.id)
})
