/** An outside service, `apiVersion: brume/v1` and `kind: Service`: a name for an address some nodes reach. */
import * as z from 'zod'
import { HOST, isServiceSpec, type ServiceSpec } from '../../core/state/services.ts'
import { readWish } from '../../core/state/wishes.ts'
import { readAllow } from './allow.ts'
import { readConstraints } from './constraints.ts'
import { field, optionalField, readWith } from './fields.ts'
import { readName } from './names.ts'
import { readPorts } from './ports.ts'
import { refusedFor, type Problem } from './problems.ts'
import { Refusal, shown } from './refusal.ts'
import type { YamlSource } from './yaml.ts'

export interface ParsedService {
  application: string
  name: string
  spec: ServiceSpec
}

const file = z.strictObject({
  apiVersion: z.unknown(),
  kind: z.unknown(),
  metadata: z.strictObject({ name: field(readName), application: field(readName) }),
  spec: z.strictObject({
    host: field(readHost),
    ports: field(readOwnPorts),
    node: optionalField(readName, null),
    constraints: optionalField(readConstraints, []),
    allow: optionalField(readAllow, [])
  })
})

/** @throws BrumeError BAD_FILE with a sentence for each problem */
export function readService(source: YamlSource): ParsedService {
  const { metadata, spec } = readWith(file, source)
  const problems = [...nowhere(spec), ...ofNodesOwn(spec)]
  if (problems.length > 0) throw refusedFor(source, problems)
  if (!isServiceSpec(spec)) {
    throw refusedFor(source, [
      { path: ['spec'], message: 'a value in it is longer or larger than an op may hold' }
    ])
  }
  return { ...metadata, spec }
}

/** The same address is another machine in another network. */
function nowhere({ node, constraints }: Pick<ServiceSpec, 'node' | 'constraints'>): Problem[] {
  if (node !== null || constraints.length > 0) return []
  const message = 'expected a `node`, or `constraints` on labels of the nodes, that reach `host`'
  return [{ path: ['spec'], message }]
}

const KNOWN_OF_EVERY_NODE = ['arch', 'os', 'engine', 'node']

function ofNodesOwn({ constraints }: Pick<ServiceSpec, 'constraints'>): Problem[] {
  return constraints.flatMap((constraint, index) => {
    const key = readWish(constraint)?.key ?? ''
    if (!KNOWN_OF_EVERY_NODE.includes(key)) return []
    const message = `expected a constraint on a label, got ${shown(constraint)}`
    return [{ path: ['spec', 'constraints', index], message }]
  })
}

function readHost(value: unknown): string {
  if (typeof value === 'string' && HOST.test(value)) return value
  throw new Refusal(`expected an IPv4 address or a host name, got ${shown(value)}`)
}

/** As a microservice has them; a service has them where it is, and nowhere else. */
function readOwnPorts(value: unknown): ServiceSpec['ports'] {
  const ports = readPorts(value)
  if (ports.length === 0) throw new Refusal('expected at least one port')
  return ports.map(({ container, host, protocol }, index) => {
    if (host === null) return { port: container, protocol }
    throw new Refusal(`expected one port, such as ${container}, got ${host}:${container}`, [index])
  })
}
