/** What a process is told of the microservices it may reach, in variables of its environment: pure. */
import { allowedBy } from '../../core/state/policies.ts'
import type { MicroserviceRecord, State } from '../../core/state/state.ts'
import { mayReach, type FlowHead } from './gate.ts'
import type { Target } from './names.ts'

export type Asker = NonNullable<FlowHead['from']>

/** What a variable stands for: a TCP port of a microservice. */
export interface Reached {
  target: Target
  port: number
}

/**
 * By the name of the variable: `BRUME_SERVICE_WEB_PORT_80` for each port, `BRUME_SERVICE_WEB` for the
 * first of the file; of another application `BRUME_SERVICE_SHOP_WEB`. Where two come to one name it
 * is the one's of the asker's own application, else the one's that is first in the order of names.
 */
export function variablesFor(
  from: Asker,
  microservices: State['microservices']
): Map<string, Reached> {
  const variables = new Map<string, Reached>()
  for (const { application, name, spec } of inOrder(from, microservices)) {
    if (!mayReach(from, { application, allow: allowedBy(spec) })) continue
    const own = application === from.application
    const base = `BRUME_SERVICE_${spelled(own ? name : `${application}-${name}`)}`
    const target: Target = { application, microservice: name, slot: null }
    const give = (variable: string, port: number): void => {
      if (!variables.has(variable)) variables.set(variable, { target, port })
    }
    for (const { container, protocol } of spec.ports) {
      if (protocol !== 'tcp') continue
      give(base, container)
      give(`${base}_PORT_${container}`, container)
    }
  }
  return variables
}

function inOrder(
  { application }: Asker,
  microservices: State['microservices']
): MicroserviceRecord[] {
  const rank = (of: string): number => Number(of !== application)
  const keyed = [...microservices].sort(
    ([a, { application: ofA }], [b, { application: ofB }]) =>
      rank(ofA) - rank(ofB) || (a < b ? -1 : 1)
  )
  return keyed.map(([, record]) => record)
}

const spelled = (name: string): string => name.toUpperCase().replaceAll('-', '_')
