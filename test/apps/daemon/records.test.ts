/** What operators wrote: two nodes that did not hear each other, history, audit, and revisions. */
import test from 'brittle'
import type {
  AuditJson,
  ConflictsJson,
  DeployResult,
  DescribeJson,
  HistoryJson,
  InviteMade,
  KeepResult,
  NodeResult
} from '../../../apps/api.ts'
import type { Daemon, Member } from '../../../apps/daemon/daemon.ts'
import { conflictCount } from '../../../apps/daemon/handlers/conflicts.ts'
import { routes } from '../../../apps/daemon/handlers/index.ts'
import { BrumeError } from '../../../core/errors.ts'
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import { createMesh, untilState, type MeshNode } from '../../helpers/mesh.ts'
import { Switchboard } from '../../helpers/switchboard.ts'
import { specWith } from '../../helpers/spec.ts'

const spec = (fields: Partial<MicroserviceSpec> = {}): MicroserviceSpec =>
  specWith({ image: 'local/web:1', command: [], ...fields })

/** Asks the routes of a node as its socket does. */
function ask<T>(node: MeshNode, method: string, path: string, body?: unknown): Promise<T> {
  const member = {
    get mesh() {
      return node.mesh
    },
    node: { explain: () => [] }
  } as unknown as Member
  const daemon = { member: () => member } as unknown as Daemon
  const [pathname = '', search] = path.split('?')
  const parts = pathname.split('/')
  for (const route of routes(daemon)) {
    const wanted = route.path.split('/')
    const fits = wanted.every((part, i) => part === parts[i] || part.startsWith(':'))
    if (route.method !== method || wanted.length !== parts.length || !fits) continue
    const named = wanted.flatMap((part, i) =>
      part.startsWith(':') ? [[part.slice(1), parts[i]]] : []
    )
    return route.handle({
      params: Object.fromEntries(named) as Record<string, string>,
      query: new URLSearchParams(search),
      json: async <B>() => body as B,
      signal: new AbortController().signal
    } as Parameters<typeof route.handle>[0]) as Promise<T>
  }
  throw new Error(`no route ${method} ${path}`)
}

const deploy = (
  node: MeshNode,
  of: Partial<MicroserviceSpec>,
  ifRev?: string
): Promise<DeployResult> =>
  ask(node, 'POST', '/applications', {
    application: 'hello',
    microservices: [{ name: 'web', spec: spec(of) }],
    ...(ifRev === undefined ? {} : { ifRev })
  })
const conflictsOf = (node: MeshNode): Promise<ConflictsJson> => ask(node, 'GET', '/conflicts')
const historyOf = (node: MeshNode, query: string): Promise<HistoryJson> =>
  ask(node, 'GET', `/history?${query}`)
const web = ({ mesh }: MeshNode): MicroserviceSpec | undefined =>
  mesh.state.microservices.get('hello/web')?.spec

async function failure(work: Promise<unknown>): Promise<BrumeError> {
  try {
    await work
  } catch (error) {
    if (error instanceof BrumeError) return error
    throw error
  }
  throw new Error('it did not fail')
}

test('records - two nodes that edit while the other is away both list it, and either ends it', async (t) => {
  const board = new Switchboard()
  const { nodes } = await createMesh(2, t, { openSwarm: board.open })
  const [a, b] = nodes as [MeshNode, MeshNode]
  await deploy(a, {})
  await untilState(b, ({ microservices }) => microservices.size === 1)
  board.split((id) => id)
  await deploy(a, { replicas: 3 })
  await deploy(b, { replicas: 5, image: 'local/web:2' })
  board.heal()
  const one = await untilConflict(a)
  const other = await untilConflict(b)
  t.is(one.id, other.id)
  const sides = [one.standing, one.lost].map(({ by, has }) => `${by}: ${has}`).sort()
  t.alike(sides, ['n0: image local/web:1, replicas 3', 'n1: image local/web:2, replicas 5'])

  const lost = one.lost.by
  const kept = await ask<KeepResult>(a, 'POST', `/conflicts/${one.id.slice(0, 8)}/keep`, {
    which: 'lost'
  })
  t.is(kept.kept.by, lost)
  t.is(web(a)?.replicas, lost === 'n0' ? 3 : 5)
  t.alike((await conflictsOf(a)).conflicts, [])
  await untilState(b, ({ microservices }) => {
    return microservices.get('hello/web')?.op === a.mesh.state.microservices.get('hello/web')?.op
  })
  t.alike((await conflictsOf(b)).conflicts, [])
  const again = await failure(ask(b, 'POST', `/conflicts/${one.id}/keep`, { which: 'standing' }))
  t.is(again.code, 'UNKNOWN_CONFLICT')

  const [told, same] = await Promise.all([a, b].map((node) => historyOf(node, 'ref=hello/web')))
  t.alike(told?.revisions, same?.revisions, 'the same history on both')
  const changes = told?.revisions.map(({ n, change }) => `${n} ${change}`) ?? []
  t.is(changes.length, 4)
  t.is(changes[0], '1 created: image local/web:1, replicas 1')
  t.ok(changes[3]?.startsWith('4 put back: image'), changes[3])
  t.is(told?.revisions[3]?.keeps, one.lost.op)
  t.is(told?.revisions[3]?.overN, 3)

  await ask(b, 'DELETE', '/applications/hello')
  const gone = await historyOf(b, 'ref=hello')
  t.alike(
    gone.revisions.slice(-2).map(({ name, removed }) => [name, removed]),
    [
      ['hello', true],
      ['hello/web', true]
    ]
  )
  t.is(gone.rev, null)
  t.is((await failure(historyOf(b, 'ref=nothing'))).code, 'UNKNOWN_REFERENCE')

  const audit = await ask<AuditJson[]>(b, 'GET', '/audit?tail=2')
  t.alike(
    audit.map(({ type, subject, by }) => `${by} ${type} ${subject}`),
    ['n0 microservice.set hello/web', 'n1 application.rm hello']
  )
})

test('records - two operators label one node on two sides: listed, decided, and told by its history', async (t) => {
  const board = new Switchboard()
  const { nodes } = await createMesh(2, t, { openSwarm: board.open })
  const [a, b] = nodes as [MeshNode, MeshNode]
  const label = (node: MeshNode, zone: string): Promise<NodeResult> =>
    ask(node, 'POST', '/nodes/n1', { labels: { set: { zone }, remove: [] } })
  await untilState(b, ({ nodes }) => nodes.size === 2)
  await label(a, 'hall')
  await untilState(b, ({ nodes }) => nodes.get(b.mesh.self)?.labels['zone'] === 'hall')
  board.split((id) => id)
  await label(a, 'yard')
  await label(b, 'harbour')
  await ask(b, 'POST', '/nodes/n1', { role: 'operator' })
  board.heal()
  const conflict = await untilConflict(a)
  t.alike([conflict.noun, conflict.name], ['node', 'n1'])
  const sides = [conflict.standing, conflict.lost].map(({ by, has }) => `${by}: ${has}`).sort()
  t.alike(sides, ['n0: labels.zone yard', 'n1: labels.zone harbour'])
  const kept = await ask<KeepResult>(a, 'POST', `/conflicts/${conflict.id}/keep`, {
    which: conflict.lost.by === 'n0' ? 'lost' : 'standing'
  })
  t.is(kept.kept.has, 'labels.zone yard')
  t.is(a.mesh.state.nodes.get(b.mesh.self)?.labels['zone'], 'yard')
  t.is(a.mesh.state.nodes.get(b.mesh.self)?.role, 'operator', 'what nobody else set stays')
  await untilState(b, ({ nodes }) => nodes.get(b.mesh.self)?.labels['zone'] === 'yard')
  t.alike((await conflictsOf(b)).conflicts, [])
  const { name, rev, revisions } = await historyOf(b, 'noun=node&ref=n1')
  t.alike([name, rev], ['n1', null])
  const changes = revisions.map(({ name, by, change }) => `${name} by ${by}: ${change}`)
  t.is(changes[0], 'n1/labels by n0: labels.zone hall')
  t.ok(changes.includes('n1/role by n1: role operator'))
  t.ok(/^n1\/labels by n0: put back: /.test(changes.at(-1) ?? ''), changes.at(-1))
})

test('records - an invite whose last use both sides of a split gave away is listed until somebody looked', async (t) => {
  const board = new Switchboard()
  const made = await createMesh(2, t, { openSwarm: board.open })
  const [a, b] = made.nodes as [MeshNode, MeshNode]
  const terms = { role: 'node', labels: {}, uses: 1, expiresInMs: 3_600_000 }
  const { id, invite: key } = await ask<InviteMade>(a, 'POST', '/invites', terms)
  await untilState(b, ({ invites, nodes }) => invites.size === 1 && nodes.size === 2)
  const own = new Set([a.mesh.self])
  board.split((node) => own.has(node))
  const far = await made.join('far', { key })
  t.alike((await conflictsOf(b)).overspent, [])
  board.split((node) => node === b.mesh.self || node === far.mesh.self)
  await made.join('near', { key })
  board.heal()
  await untilState(a, ({ nodes }) => nodes.size === 4)
  await untilState(b, ({ nodes }) => nodes.size === 4)
  const found = await conflictsOf(a)
  t.alike(found.conflicts, [])
  const [row, ...more] = found.overspent
  t.is(more.length, 0)
  t.alike([row?.invite, row?.uses], [id, 1])
  t.alike(row?.nodes.map(({ name, state }) => `${name} ${state}`).sort(), [
    'far member',
    'near member'
  ])
  t.alike((await conflictsOf(b)).overspent, found.overspent, 'the same on both sides')
  t.is(await conflictCount(b.mesh), 1, 'and counted')
  const kept = await failure(ask(b, 'POST', `/conflicts/${row?.id}/keep`, { which: 'lost' }))
  t.is(kept.code, 'CANNOT_KEEP')
  t.ok(/^invite \w+ let \w+, \w+ in, 2 instead of 1: all of them stay/.test(kept.message))
  t.ok(kept.next?.includes(`brume invite rm ${id}`))
  await ask(b, 'DELETE', `/invites/${id}`)
  t.alike((await conflictsOf(b)).overspent, [])
})

test('records - a deploy over a revision that is no more fails in one sentence', async (t) => {
  const { nodes } = await createMesh(1, t)
  const [a] = nodes as [MeshNode]
  await deploy(a, {})
  const { rev } = await ask<DescribeJson>(a, 'GET', '/describe?ref=hello')
  t.is((await historyOf(a, 'ref=hello')).rev, rev)
  await deploy(a, { replicas: 2 }, rev.slice(0, 6))
  t.is(web(a)?.replicas, 2)
  await ask(a, 'POST', '/applications/hello/web/scale', { replicas: 4 })
  const error = await failure(deploy(a, { replicas: 9 }, rev))
  t.is(error.code, 'REVISION_CHANGED')
  t.is(error.exitCode, 1)
  t.is(error.next, 'brume history hello')
  t.is(web(a)?.replicas, 4)
  t.is((await failure(deploy(a, {}, 'no-rev'))).code, 'BAD_REQUEST')
})

async function untilConflict(node: MeshNode): Promise<ConflictsJson['conflicts'][number]> {
  await untilState(node, ({ nodes }) => nodes.size === 2)
  for (let i = 0; i < 400; i++) {
    const [first, ...more] = (await conflictsOf(node)).conflicts
    if (first !== undefined && more.length === 0) return first
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        node.mesh.off('view', done)
        resolve()
      }
      const timer = setTimeout(done, 100)
      node.mesh.on('view', done)
    })
  }
  throw new Error(`${node.name} lists no conflict`)
}

test('records - a deploy that takes a port of another is refused, and changes nothing', async (t) => {
  const { nodes } = await createMesh(1, t, { openSwarm: new Switchboard().open })
  const [a] = nodes as [MeshNode]
  const expose = (over: object): { name: string; spec: MicroserviceSpec } => ({
    name: 'web',
    spec: spec({ expose: [{ port: 8080, to: 80, protocol: 'http', on: 'all', ...over }] })
  })
  const send = (application: string, of: object): Promise<DeployResult> =>
    ask(a, 'POST', '/applications', { application, microservices: [expose(of)] })
  await send('shop', { path: '/b' })
  await send('shop', { path: '/c', protocol: 'http' })
  await send('other', {})
  for (const of of [{ path: '/c' }, { protocol: 'tcp' }]) {
    for (const application of ['another', 'zoo']) {
      const error = await failure(send(application, of))
      t.is(error.code, 'PORT_IN_USE')
      const name = a.mesh.me?.displayName
      const theirs = 'protocol' in of ? 'other/web' : 'shop/web'
      t.is(
        error.message,
        `${application}/web cannot have port 8080 on ${name}: it is exposed for ${theirs}`
      )
    }
  }
  t.alike([...a.mesh.state.applications.keys()].sort(), ['other', 'shop'])
  await send('another', { port: 8081, protocol: 'tcp' })
  await send('zoo', { protocol: 'tcp', on: 'zone=nowhere' })
  const both = ['x', 'y'].map((name) => ({ ...expose({ port: 1 }), name }))
  const twice = ask(a, 'POST', '/applications', { application: 'twin', microservices: both })
  t.is((await failure(twice)).message.includes('twin/'), true)
})

test('rollback - not to the revision that just failed by itself', async (t) => {
  const { nodes } = await createMesh(1, t)
  const [one] = nodes as [MeshNode]
  const { mesh } = one
  const image = (): string | null | undefined =>
    mesh.state.microservices.get('hello/web')?.spec.image
  for (const version of ['first', 'second', 'third']) {
    await deploy(one, { image: `local/${version}:1` })
  }
  const of = mesh.state.microservices.get('hello/web')?.op ?? ''
  const named = { application: 'hello', microservice: 'web', of }
  await mesh.append([
    { type: 'lease.claim', term: 1, at: 1 },
    {
      ...{ type: 'rollout.end', ...named, outcome: 'rolledBack', reason: 'it died', log: [] },
      ...{ term: 1, at: 1 }
    }
  ])
  t.is(image(), 'local/first:1', 'back to what came to its end last')
  const rollback = (n?: number): Promise<DeployResult> =>
    ask(one, 'POST', '/applications/hello/web/rollback', n === undefined ? {} : { n })
  await rollback()
  t.is(image(), 'local/second:1', 'the third failed')
  await rollback(3)
  t.is(image(), 'local/third:1', 'but who names it gets it')
})
