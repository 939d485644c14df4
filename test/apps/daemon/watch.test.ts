import test from 'brittle'
import type { EventJson, WatchedReplica } from '../../../apps/api.ts'
import type { Daemon, Member } from '../../../apps/daemon/daemon.ts'
import { keepEvents } from '../../../apps/daemon/events.ts'
import { replicaRoutes } from '../../../apps/daemon/handlers/replicas.ts'
import type { ApiRequest, ServerEvent } from '../../../apps/daemon/socket.ts'
import type { Op } from '../../../core/state/index.ts'
import { createMesh, type MeshNode } from '../../helpers/mesh.ts'
import { specWith } from '../../helpers/spec.ts'

test('watch - tells what the Controller did to an application and why, before what comes of it', async (t) => {
  const { nodes } = await createMesh(1, t)
  const [{ mesh }] = nodes as [MeshNode]
  const at = 1
  const asked = (application: string): Op[] => [
    { type: 'application.set', name: application, over: null, at },
    { type: 'microservice.set', application, name: 'web', spec: specWith(), over: null, at }
  ]
  await mesh.append([...asked('hello'), ...asked('other'), { type: 'lease.claim', term: 1, at }])
  const node = { explain: () => [] }
  const member = { mesh, events: keepEvents(mesh), node } as unknown as Member
  const leaving = new AbortController()
  const route = replicaRoutes({ member: () => member } as unknown as Daemon).find(
    ({ path }) => path === '/watch'
  )
  const query = new URLSearchParams({ application: 'hello' })
  const answer = await route?.handle({ query, signal: leaving.signal } as unknown as ApiRequest)
  const { events } = answer as { events: AsyncGenerator<ServerEvent, void> }
  const next = async (): Promise<ServerEvent> => (await events.next()).value as ServerEvent
  t.alike([(await next()).event, (await next()).event], ['rollouts', 'replicas'])

  const slot = {
    microservice: 'web',
    slot: 0,
    node: mesh.self,
    revision: '0123456789abcdef',
    term: 1,
    at
  }
  await mesh.append(
    ['other', 'hello'].map((application) => ({
      ...{ type: 'placement.set' as const, application, ...slot },
      reason: 'only it fits'
    }))
  )
  const happened = await next()
  t.is(happened.event, 'events')
  t.alike(
    (happened.data as EventJson[]).map(({ text }) => text),
    [`hello/web/0 is placed on ${mesh.me?.displayName}: only it fits`]
  )
  const [row] = (await next()).data as WatchedReplica[]
  t.is(row?.node, mesh.me?.displayName)
  leaving.abort()
  await events.return()
})
