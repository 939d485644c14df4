/** Of a microservice of one replica that asks for nothing, but for what is `over` that. */
import type { MicroserviceSpec } from '../../core/state/microservices.ts'

export const specWith = (over: Partial<MicroserviceSpec> = {}): MicroserviceSpec => ({
  image: 'local/node:20',
  images: {},
  files: null,
  command: ['node', 'server.js'],
  env: {},
  labels: {},
  ports: [],
  resources: { cpus: null, memoryBytes: null },
  replicas: 1,
  node: null,
  constraints: [],
  restart: 'always',
  healthcheck: null,
  ...over
})
