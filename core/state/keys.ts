/** Every key of the view. `mesh/format` is read by all versions: its encoding never changes. */
import b4a from 'b4a'

const slot = (n: number): string => String(n).padStart(6, '0')
const long = (n: number): string => String(n).padStart(16, '0')

interface Thing {
  noun: string
  name: string
}

export const keys = {
  format: 'mesh/format',
  mesh: 'mesh/record',
  nodes: 'node/',
  node: (id: string) => `node/${id}`,
  joinKeys: 'join-key/',
  joinKey: (publicKey: string) => `join-key/${publicKey}`,
  sealedKey: (node: string) => `sealed-key/${node}`,
  sealedKeys: 'sealed-key/',
  invites: 'invite/',
  invite: (publicKey: string) => `invite/${publicKey}`,
  droppedOf: (node: string) => `dropped/${node}/`,
  dropped: (node: string, n: number) => `dropped/${node}/${slot(n)}`,
  droppedCounts: 'dropped-count/',
  droppedCount: (node: string) => `dropped-count/${node}`,
  writer: (key: Uint8Array) => `writer/${b4a.toString(key, 'hex')}`,
  applications: 'application/',
  application: (name: string) => `application/${name}`,
  microservices: 'microservice/',
  microservicesOf: (application: string) => `microservice/${application}/`,
  microservice: (application: string, name: string) => `microservice/${application}/${name}`,
  services: 'service/',
  service: (application: string, name: string) => `service/${application}/${name}`,
  placements: 'placement/',
  placementsOf: (application: string, microservice: string) =>
    `placement/${application}/${microservice}/`,
  placement: (application: string, microservice: string, n: number) =>
    `placement/${application}/${microservice}/${slot(n)}`,
  rollouts: 'rollout/',
  rollout: (application: string, microservice: string) => `rollout/${application}/${microservice}`,
  moves: 'move/',
  movesOf: (application: string, microservice: string) => `move/${application}/${microservice}/`,
  move: (application: string, microservice: string, n: number) =>
    `move/${application}/${microservice}/${slot(n)}`,
  homes: 'home/',
  home: (application: string, microservice: string, n: number) =>
    `home/${application}/${microservice}/${slot(n)}`,
  recoveries: 'recovery/',
  recovery: (epoch: number, op: string) => `recovery/${slot(epoch)}/${op}`,
  lease: 'lease/current',
  claim: (node: string) => `claim/${node}`,

  /** What is read on demand only: a State has nothing of it. */
  onDemand: '~',
  asides: '~aside/',
  aside: ({ noun, name }: Thing) => `~aside/${noun}/${name}`,
  audit: '~audit/',
  audited: (n: number) => `~audit/${slot(n)}`,
  auditNext: '~audit-next',
  historyRecord: ({ noun, name }: Thing) => `~history/${noun}/${name}`,
  revisions: ({ noun, name }: Thing) => `~revision/${noun}/${name}/`,
  revision: ({ noun, name }: Thing, n: number) => `~revision/${noun}/${name}/${long(n)}`,
  ring: (name: string) => `~ring/${name}`,
  ringEntry: (name: string, n: number) => `~ring-${name}/${long(n)}`
}
