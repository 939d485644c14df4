import test from 'brittle'
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import type { ServiceSpec } from '../../../core/state/services.ts'
import type { PlacementRecord, ServiceRecord } from '../../../core/state/state.ts'
import { flowHead, refusal, type FlowHead, type GateWorld } from '../../../roles/connector/gate.ts'
import { microservice, node } from '../../sim/worlds.ts'

const TO = { application: 'app', microservice: 'web', slot: 0 }
const head = (over: Partial<FlowHead> = {}): FlowHead => ({
  to: TO,
  port: 80,
  protocol: 'tcp',
  from: null,
  ...over
})

const placement: PlacementRecord = {
  application: 'app',
  microservice: 'meter',
  slot: 0,
  node: 'n',
  revision: 'r',
  term: 1,
  op: 'a.1',
  by: 'a',
  at: 0
}

const outside = (name: string, over: Partial<ServiceSpec>): ServiceRecord => ({
  application: 'app',
  name,
  spec: {
    host: '192.168.0.7',
    ports: [{ port: 502, protocol: 'tcp' }],
    node: null,
    constraints: [],
    allow: [],
    ...over
  },
  op: 'a.1',
  by: 'a',
  at: 0
})

const SHARED: Partial<MicroserviceSpec> = {
  allow: ['bills', 'street/meter'],
  expose: [{ port: 8080, to: 80, protocol: 'tcp', on: 'zone=a' }]
}

const world: GateWorld = {
  state: {
    nodes: new Map([
      ['n', node('n', { role: 'node' })],
      ['o', node('o', { role: 'operator' })],
      ['here', node('here')],
      ['open', node('open', { role: 'node', labels: { zone: 'a' } })]
    ]),
    placements: new Map([
      ['app/meter/0', placement],
      ['bills/any/0', { ...placement, application: 'bills', microservice: 'any' }],
      ['street/meter/0', { ...placement, application: 'street' }],
      ['street/lamp/0', { ...placement, application: 'street', microservice: 'lamp' }]
    ]),
    microservices: new Map([['app/web', microservice('web', SHARED)]]),
    services: new Map([
      ['app/plc', outside('plc', { node: 'here', allow: ['bills'] })],
      ['app/far', outside('far', { node: 'o' })],
      ['app/web', outside('web', { node: 'o' })]
    ])
  },
  self: 'here',
  status: new Map()
}

test('gate - who may open a flow: people of operators, nodes that expose it, microservices of the same application', (t) => {
  const meter = { application: 'app', microservice: 'meter' }
  const rows: [string, FlowHead, boolean][] = [
    ['o', head(), true],
    ['n', head(), false],
    ['stranger', head(), false],
    // It opens a port for it.
    ['open', head(), true],
    ['open', head({ port: 81 }), false],
    ['open', head({ protocol: 'udp' }), false],
    ['open', head({ to: { ...TO, microservice: 'other' } }), false],
    ['n', head({ from: meter }), true],
    // It does not run there: that node cannot speak for it.
    ['o', head({ from: meter }), false],
    ['n', head({ from: meter, to: { ...TO, application: 'other' } }), false],
    ['n', head({ from: { application: 'bills', microservice: 'any' } }), true],
    ['n', head({ from: { application: 'street', microservice: 'meter' } }), true],
    ['n', head({ from: { application: 'street', microservice: 'lamp' } }), false]
  ]
  for (const [from, asked, good] of rows) {
    const code = refusal(from, asked, world)?.code ?? null
    t.is(code, good ? null : 'FORBIDDEN', `${from} for ${JSON.stringify(asked)}`)
  }
})

test('gate - of a service outside only its ports are dialled, and only by who is to', (t) => {
  const meter = { application: 'app', microservice: 'meter' }
  const bills = { application: 'bills', microservice: 'any' }
  const street = { application: 'street', microservice: 'meter' }
  const at = (microservice: string, over: Partial<FlowHead> = {}): FlowHead =>
    head({ to: { ...TO, microservice }, port: 502, ...over })
  const rows: [string, FlowHead, string | null][] = [
    ['o', at('plc'), null],
    ['n', at('plc'), 'FORBIDDEN'],
    ['n', at('plc', { from: meter }), null],
    ['n', at('plc', { from: bills }), null],
    ['n', at('plc', { from: street }), 'FORBIDDEN'],
    ['n', at('plc', { from: meter, port: 22 }), 'PORT_CLOSED'],
    ['o', at('plc', { port: 22 }), 'PORT_CLOSED'],
    ['n', at('far', { from: meter }), 'REPLICA_NOT_HERE'],
    // A microservice has that name.
    ['n', at('web', { from: meter, port: 22 }), null]
  ]
  for (const [from, asked, code] of rows) {
    t.is(refusal(from, asked, world)?.code ?? null, code, `${from} for ${JSON.stringify(asked)}`)
  }
})

test('gate - what is no head of a flow is none', (t) => {
  t.ok(flowHead.check(head()))
  t.ok(flowHead.check(head({ protocol: 'udp' })))
  for (const bad of [
    null,
    {},
    head({ port: 0 }),
    { ...head(), protocol: 'sctp' },
    { ...head(), to: 'web' }
  ]) {
    t.absent(flowHead.check(bad))
  }
})
