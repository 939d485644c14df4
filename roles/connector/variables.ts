/** What a process is told of the microservices it may reach, in variables of its environment: pure. */
import type { Port } from '../../core/state/microservices.ts'
import { allowedBy } from '../../core/state/policies.ts'
import type { State } from '../../core/state/state.ts'
import { mayReach, type FlowHead } from './gate.ts'
import type { Target } from './names.ts'

export type Asker = NonNullable<FlowHead['from']>
export type Reachable = Pick<State, 'microservices' | 'services'>

/** What a variable stands for: a port of a microservice, or of a service outside. */
export interface Reached {
  target: Target
  port: number
  protocol: Port['protocol']
}

/**
 * By the name of the variable: `BRUME_SERVICE_WEB_PORT_80` for each port, `BRUME_SERVICE_WEB` for the
 * first of the file, `BRUME_SERVICE_WEB_PORT_53_UDP` for one of UDP; of another application
 * `BRUME_SERVICE_SHOP_WEB`. Where two come to one name it is the one's of the asker's own application,
 * else the one's that is first in the order of names.
 */
export function variablesFor(from: Asker, state: Reachable): Map<string, Reached> {
  const variables = new Map<string, Reached>()
  for (const { application, name, allow, ports } of inOrder(from, state)) {
    if (!mayReach(from, { application, allow })) continue
    const own = application === from.application
    const base = `BRUME_SERVICE_${spelled(own ? name : `${application}-${name}`)}`
    const target: Target = { application, microservice: name, slot: null }
    for (const { port, protocol } of ports) {
      const one = `${base}_PORT_${port}`
      for (const variable of protocol === 'tcp' ? [base, one] : [`${one}_UDP`]) {
        if (!variables.has(variable)) variables.set(variable, { target, port, protocol })
      }
    }
  }
  return variables
}

interface Named {
  application: string
  name: string
  allow: readonly string[]
  ports: { port: number; protocol: 'tcp' | 'udp' }[]
}

function inOrder({ application }: Asker, state: Reachable): Named[] {
  const rank = (of: string): number => Number(of !== application)
  return [...named(state)]
    .sort(
      ([a, { application: ofA }], [b, { application: ofB }]) =>
        rank(ofA) - rank(ofB) || (a < b ? -1 : 1)
    )
    .map(([, each]) => each)
}

/** A microservice goes before a service outside that has its name. */
function named({ microservices, services }: Reachable): Map<string, Named> {
  const all = new Map<string, Named>()
  for (const [key, { application, name, spec }] of services) {
    all.set(key, { application, name, allow: spec.allow, ports: spec.ports })
  }
  for (const [key, { application, name, spec }] of microservices) {
    const ports = spec.ports.map(({ container, protocol }) => ({ port: container, protocol }))
    all.set(key, { application, name, allow: allowedBy(spec), ports })
  }
  return all
}

const spelled = (name: string): string => name.toUpperCase().replaceAll('-', '_')
