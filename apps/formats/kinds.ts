import { refusedFor } from './problems.ts'
import { shown } from './refusal.ts'
import type { YamlSource } from './yaml.ts'

const IOFOG = /^iofog\.org\/v[123]$/

const IOFOG_KINDS = [
  'Agent',
  'AgentConfig',
  'ApplicationTemplate',
  'CatalogItem',
  'Certificate',
  'CertificateAuthority',
  'ConfigMap',
  'Connector',
  'ControlPlane',
  'Controller',
  'EdgeResource',
  'KubernetesControlPlane',
  'LocalAgent',
  'LocalControlPlane',
  'LocalController',
  'Microservice',
  'OfflineImage',
  'Registry',
  'RemoteAgent',
  'RemoteControlPlane',
  'Role',
  'RoleBinding',
  'Route',
  'Secret',
  'Service',
  'ServiceAccount',
  'Volume',
  'VolumeMount'
]

export interface Header {
  /** Our own format; else ioFog's. */
  ours: boolean
  kind: 'Application' | 'Service'
}

/** What the file describes, and in whose words. @throws BrumeError BAD_FILE where nothing we know */
export function readHeader(source: YamlSource): Header {
  const { value } = source
  const refuse = (path: string[], message: string): Error => refusedFor(source, [{ path, message }])
  const format = '`apiVersion: brume/v1` and `kind: Application`'

  if (value === null || value === undefined) {
    throw refuse([], `the file is empty: expected ${format}`)
  }
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw refuse([], `expected a map with ${format}, got ${shown(value)}`)
  }
  const { apiVersion, kind } = value as Record<string, unknown>
  if (apiVersion === undefined && 'services' in value) {
    throw refuse([], `this looks like a Compose file, which is not done yet: expected ${format}`)
  }
  const versions = 'brume/v1, or iofog.org/v3 for a file of ioFog'
  if (apiVersion === undefined) throw refuse(['apiVersion'], `missing, expected ${versions}`)
  const ours = apiVersion === 'brume/v1'
  if (!ours && !(typeof apiVersion === 'string' && IOFOG.test(apiVersion))) {
    throw refuse(['apiVersion'], `expected ${versions}, got ${shown(apiVersion)}`)
  }
  if (kind === undefined)
    throw refuse(['kind'], `missing, expected Application${ours ? ' or Service' : ''}`)
  if (kind === 'Application' || (ours && kind === 'Service')) return { ours, kind }
  throw refuse(['kind'], explainKind(kind, ours))
}

function explainKind(kind: unknown, ours: boolean): string {
  const expected = ours ? 'Application or Service' : 'Application'
  if (typeof kind !== 'string') return `expected ${expected}, got ${shown(kind)}`
  if (!ours && kind === 'Microservice') {
    return (
      'a Microservice of ioFog is not deployed alone: ' +
      'put it into spec.microservices of its Application'
    )
  }
  if (!ours && IOFOG_KINDS.includes(kind)) {
    return `expected Application, got ${kind}, a kind of ioFog that brume does not deploy`
  }
  return `expected ${expected}, got ${shown(kind)}`
}
