import test from 'brittle'
import type { Port } from '../../../core/state/microservices.ts'
import type { MicroserviceRecord, ServiceRecord, State } from '../../../core/state/state.ts'
import { variablesFor } from '../../../roles/connector/variables.ts'
import { microservice } from '../../sim/worlds.ts'

const port = (container: number, protocol: Port['protocol'] = 'tcp'): Port => ({
  container,
  host: null,
  protocol
})

const CALLER = { application: 'shop', microservice: 'caller' }

/** Variables as NAME → APP/MICROSERVICE:PORT[/udp]. */
function told(
  microservices: State['microservices'],
  from = CALLER,
  services: State['services'] = new Map()
): Record<string, string> {
  const variables = [...variablesFor(from, { microservices, services })]
  return Object.fromEntries(
    variables.map(([name, { target, port, protocol }]) => [
      name,
      `${target.application}/${target.microservice}:${port}${protocol === 'udp' ? '/udp' : ''}`
    ])
  )
}

function all(
  of: Record<string, { ports: Port[]; allow?: string[] }>
): Map<string, MicroserviceRecord> {
  return new Map(
    Object.entries(of).map(([key, over]) => {
      const [application = '', name = ''] = key.split('/')
      return [key, { ...microservice(name, over), application }]
    })
  )
}

test('variables - each port of what may be reached, and the first of TCP by the name alone', (t) => {
  const microservices = all({
    'shop/caller': { ports: [] },
    'shop/price-list': { ports: [port(8080), port(53, 'udp'), port(80)] },
    'shop/dns': { ports: [port(53, 'udp')] },
    'bills/db': { ports: [port(5432)], allow: ['shop/caller'] },
    'bills/web': { ports: [port(80)], allow: ['shop/other'] }
  })
  t.alike(told(microservices), {
    BRUME_SERVICE_PRICE_LIST: 'shop/price-list:8080',
    BRUME_SERVICE_PRICE_LIST_PORT_8080: 'shop/price-list:8080',
    BRUME_SERVICE_PRICE_LIST_PORT_53_UDP: 'shop/price-list:53/udp',
    BRUME_SERVICE_PRICE_LIST_PORT_80: 'shop/price-list:80',
    BRUME_SERVICE_DNS_PORT_53_UDP: 'shop/dns:53/udp',
    BRUME_SERVICE_BILLS_DB: 'bills/db:5432',
    BRUME_SERVICE_BILLS_DB_PORT_5432: 'bills/db:5432'
  })
})

test('variables - of two with one name it is the one of its own application, else the first', (t) => {
  const allow = ['shop']
  const microservices = all({
    'a/b-c': { ports: [port(2)], allow },
    'a-b/c': { ports: [port(1)], allow },
    'bills/db': { ports: [port(1), port(2)], allow },
    'shop/bills-db': { ports: [port(1)] },
    'shop/web': { ports: [port(80)] },
    'shop/web-port-80': { ports: [port(90)] }
  })
  const expected = {
    BRUME_SERVICE_BILLS_DB: 'shop/bills-db:1',
    BRUME_SERVICE_BILLS_DB_PORT_1: 'shop/bills-db:1',
    BRUME_SERVICE_WEB: 'shop/web:80',
    BRUME_SERVICE_WEB_PORT_80: 'shop/web:80',
    BRUME_SERVICE_WEB_PORT_80_PORT_90: 'shop/web-port-80:90',
    BRUME_SERVICE_A_B_C: 'a-b/c:1',
    BRUME_SERVICE_A_B_C_PORT_1: 'a-b/c:1',
    BRUME_SERVICE_A_B_C_PORT_2: 'a/b-c:2',
    BRUME_SERVICE_BILLS_DB_PORT_2: 'bills/db:2'
  }
  t.alike(told(microservices), expected)
  t.alike(told(new Map([...microservices].reverse())), expected, 'in whatever order they are known')
})

test('variables - a service outside has them as well, unless a microservice has its name', (t) => {
  const outside = { node: 'plant', constraints: [], host: '192.168.0.7' }
  const record = (key: string, allow: string[]): [string, ServiceRecord] => {
    const [application = '', name = ''] = key.split('/')
    const ports = [
      { port: 502, protocol: 'tcp' as const },
      { port: 161, protocol: 'udp' as const }
    ]
    const written = { op: 'a.1', by: 'a', at: 0 }
    return [key, { application, name, spec: { ...outside, ports, allow }, ...written }]
  }
  const services = new Map([
    record('shop/plc', []),
    record('shop/till', []),
    record('plant/oven', ['shop']),
    record('plant/press', ['shop/other'])
  ])
  const microservices = all({ 'shop/till': { ports: [port(80)] } })
  t.alike(told(microservices, CALLER, services), {
    BRUME_SERVICE_PLC: 'shop/plc:502',
    BRUME_SERVICE_PLC_PORT_502: 'shop/plc:502',
    BRUME_SERVICE_PLC_PORT_161_UDP: 'shop/plc:161/udp',
    BRUME_SERVICE_TILL: 'shop/till:80',
    BRUME_SERVICE_TILL_PORT_80: 'shop/till:80',
    BRUME_SERVICE_PLANT_OVEN: 'plant/oven:502',
    BRUME_SERVICE_PLANT_OVEN_PORT_502: 'plant/oven:502',
    BRUME_SERVICE_PLANT_OVEN_PORT_161_UDP: 'plant/oven:161/udp'
  })
})
