import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { duplexPair } from 'node:stream'
import test, { type Assert } from 'brittle'
import { Datagrams, MAX_DATAGRAM_BYTES } from '../../../core/datagrams.ts'
import { BrumeError } from '../../../core/errors.ts'
import type { Replica } from '../../../roles/connector/directory.ts'
import { Flows, type FlowTarget } from '../../../roles/connector/flows.ts'
import type { FlowHead } from '../../../roles/connector/gate.ts'
import { waitUntil } from '../../helpers/wait.ts'

const target: FlowTarget = {
  application: 'app',
  microservice: 'web',
  slot: null,
  port: 80,
  from: null
}

test('flows - the nearest replica takes it, the next where that does not, and what went over is counted', async (t) => {
  const asked: string[] = []
  const flows = flowsOf(['here', 'there'], async (node, { to }) => {
    asked.push(`${node}/${to.slot}`)
    if (node === 'here') throw new BrumeError('PORT_CLOSED', 'it does not listen')
    return echo()
  })
  const [client, other] = duplexPair()
  const attach = await flows.open(target)
  attach(other)
  client.end('hello')
  t.is(String((await once(client, 'data'))[0]), 'hello')
  t.alike(asked, ['here/0', 'there/1'])
  await waitUntil(() => flows.figures().get('app/web')?.open === 0)
  t.alike(flows.figures().get('app/web'), {
    open: 0,
    opened: 1,
    refused: 0,
    retried: 1,
    resets: 0,
    bytesSent: 5,
    bytesReceived: 5,
    dropped: 0,
    paths: { local: 0, lan: 1, direct: 0, relayed: 0 }
  })
})

test('flows - of UDP are asked for as such, and what is lost of them is counted', async (t) => {
  const asked: FlowHead[] = []
  const [near] = duplexPair()
  const flows = flowsOf(['there'], async (_node, head) => {
    asked.push(head)
    return near
  })
  const attach = await flows.open({ ...target, protocol: 'udp' })
  t.is(asked[0]?.protocol, 'udp')
  const client = new Datagrams((_datagram, done) => done())
  const tooLarge = Buffer.alloc(MAX_DATAGRAM_BYTES + 1)
  client.receive(tooLarge)
  attach(client)
  client.receive(tooLarge)
  t.is(flows.figures().get('app/web')?.dropped, 2)
  near.destroy()
  await waitUntil(() => client.destroyed)
})

test('flows - where none takes it, the reason of the last; who may not is not tried elsewhere', async (t) => {
  const codes = { here: 'PORT_CLOSED', there: 'NODE_UNREACHABLE' }
  const none = flowsOf(['here', 'there'], async (node) => {
    throw new BrumeError(codes[node as 'here'], node)
  })
  await refused(t, none.open(target), 'NODE_UNREACHABLE')
  t.is(none.figures().get('app/web')?.refused, 1)
  let tries = 0
  const forbidden = flowsOf(['here', 'there'], async () => {
    tries++
    throw new BrumeError('FORBIDDEN', 'no')
  })
  await refused(t, forbidden.open(target), 'FORBIDDEN')
  t.is(tries, 1)
  await refused(t, flowsOf([], async () => echo()).open(target), 'NO_REPLICA')
  await refused(t, none.open({ ...target, slot: 9 }), 'NO_REPLICA')
  await refused(t, none.open({ ...target, microservice: 'nothing' }), 'UNKNOWN_SERVICE')
})

test('flows - a node that keeps quiet is passed over, then tried last; what it says later is ended', async (t) => {
  const asked: string[] = []
  let late: (flow: Duplex) => void = () => undefined
  const flows = flowsOf(['far', 'there'], async (node) => {
    asked.push(node)
    return node === 'far' ? new Promise((resolve) => (late = resolve)) : echo()
  })
  await flows.open(target)
  t.alike(asked, ['far', 'there'])
  const flow = echo()
  late(flow)
  await waitUntil(() => flow.destroyed)
  await flows.open(target)
  t.alike(asked, ['far', 'there', 'there'])
})

function flowsOf(nodes: string[], open: (node: string, head: FlowHead) => Promise<Duplex>): Flows {
  const replicas = nodes.map((node, slot): Replica => {
    return { application: 'app', microservice: 'web', slot, node, leaving: false }
  })
  const named = { application: 'app', microservice: 'web' }
  const service = { ...named, ports: [], allow: [], outside: null, replicas }
  return new Flows({
    directory: () => new Map([['app/web', service]]),
    vicinity: { self: 'here', zoneOf: () => null, rttMs: () => null },
    tunnel: open,
    local: (head) => open('here', head),
    pathTo: (node) => (node === 'here' ? 'local' : 'lan')
  })
}

function echo(): Duplex {
  const [near, far] = duplexPair()
  far.pipe(far)
  return near
}

async function refused(t: Assert, opening: Promise<unknown>, code: string): Promise<void> {
  const error = await opening.then(
    () => null,
    (reason: unknown) => reason as BrumeError
  )
  t.is(error?.code, code)
}
