/** All routes of the socket; their shapes are in `apps/api.ts`. */
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'
import { applications } from './applications.ts'
import { bundles } from './bundles.ts'
import { format } from './format.ts'
import { logs } from './logs.ts'
import { mesh } from './mesh.ts'
import { microservices } from './microservices.ts'
import { nodes } from './nodes.ts'
import { recover } from './recover.ts'
import { replicaRoutes } from './replicas.ts'

export const routes = (daemon: Daemon): Route[] => [
  ...mesh(daemon),
  ...recover(daemon),
  ...format(daemon),
  ...nodes(daemon),
  ...bundles(daemon),
  ...applications(daemon),
  ...microservices(daemon),
  ...replicaRoutes(daemon),
  ...logs(daemon)
]
