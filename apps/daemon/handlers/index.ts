/** All routes of the socket; their shapes are in `apps/api.ts`. */
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'
import { applications } from './applications.ts'
import { backup } from './backup.ts'
import { bundles } from './bundles.ts'
import { conflicts } from './conflicts.ts'
import { history } from './history.ts'
import { invites } from './invites.ts'
import { keys } from './keys.ts'
import { explain } from './explain.ts'
import { flowRoutes } from './flows.ts'
import { format } from './format.ts'
import { logs } from './logs.ts'
import { mesh } from './mesh.ts'
import { microservices } from './microservices.ts'
import { moves } from './moves.ts'
import { net } from './net.ts'
import { nodes } from './nodes.ts'
import { planRoutes } from './plan.ts'
import { recover } from './recover.ts'
import { replicaRoutes } from './replicas.ts'
import { rolloutRoutes } from './rollouts.ts'
import { services } from './services.ts'

export const routes = (daemon: Daemon): Route[] => [
  ...mesh(daemon),
  ...keys(daemon),
  ...invites(daemon),
  ...recover(daemon),
  ...format(daemon),
  ...nodes(daemon),
  ...net(daemon),
  ...bundles(daemon),
  ...backup(daemon),
  ...applications(daemon),
  ...microservices(daemon),
  ...services(daemon),
  ...replicaRoutes(daemon),
  ...rolloutRoutes(daemon),
  ...explain(daemon),
  ...planRoutes(daemon),
  ...moves(daemon),
  ...conflicts(daemon),
  ...history(daemon),
  ...logs(daemon),
  ...flowRoutes(daemon)
]
