import test from 'brittle'
import type { NodeJson } from '../../../../apps/api.ts'
import type { ApiRequest } from '../../../../apps/daemon/socket.ts'
import { cli, fakeDaemon, replica } from '../fake-daemon.ts'

const node = (fields: Partial<NodeJson> = {}): NodeJson => ({
  ...{ name: 'pi-1', id: 'y'.repeat(52), role: 'admin', labels: {}, engine: 'docker' },
  ...{
    state: 'alive',
    version: '0.2.0',
    lastHeardMs: 0,
    controller: true,
    dropped: 0,
    names: null
  },
  availability: { mode: 'active', reason: '', deadlineMs: null },
  ...fields
})

test('node cordon, undrain - what they ask for, and how it shows', async (t) => {
  const asked: unknown[] = []
  const dir = await fakeDaemon(t, {
    'POST /nodes/:node': async ({ json }: ApiRequest) => {
      const { availability } = await json<{ availability: NodeJson['availability'] }>()
      asked.push(availability)
      return { node: node({ availability }), offline: [] }
    }
  })
  const cordoned = await cli(['node', 'cordon', 'pi-1', '--reason', 'disk', '--data', dir])
  t.ok(/pi-1 .*alive +cordoned: disk/.test(cordoned.out), cordoned.out)
  const active = await cli(['node', 'undrain', 'pi-1', '--data', dir])
  t.absent(active.out.includes('AVAILABILITY'), 'nothing to say where all are')
  t.alike(asked, [
    { mode: 'cordoned', reason: 'disk', deadlineMs: null },
    { mode: 'active', reason: '', deadlineMs: null }
  ])
})

test('node drain - waits until it is empty; what has no other place is named', async (t) => {
  const held = replica({ slot: 1, reason: 'pi-1 is drained; pinned to it' })
  const looks = [[replica(), held, replica({ node: 'pi-2' })], [held], [held]]
  let asked: unknown = null
  const dir = await fakeDaemon(t, {
    'POST /nodes/:node': async ({ json }: ApiRequest) => {
      asked = await json()
      return { node: node(), offline: [] }
    },
    'GET /replicas': () => (looks.length > 1 ? looks.shift() : looks[0]) as object
  })
  const ran = await cli(['node', 'drain', 'pi-1', '--data', dir])
  t.is(ran.code, 1)
  t.ok(ran.err.includes('hello/web/1 stays: pi-1 is drained; pinned to it'), ran.err)
  t.alike(asked, { availability: { mode: 'draining', reason: '', deadlineMs: null } })
  looks.splice(0, looks.length, [])
  t.is((await cli(['node', 'drain', 'pi-1', '--deadline', '1h', '--data', dir])).code, 0)
  t.alike(asked, { availability: { mode: 'draining', reason: '', deadlineMs: 3_600_000 } })
})

test('node drain - waits for its deadline, and as long again as nothing may change', async (t) => {
  const pinned = replica({ reason: 'pi-1 is drained; pinned to it' })
  let rows = [pinned, replica({ slot: 1, node: 'pi-2' })]
  const dir = await fakeDaemon(t, {
    'POST /nodes/:node': () => ({ node: node(), offline: [] }),
    'GET /replicas': () => rows
  })
  const args = ['node', 'drain', 'pi-1', '--timeout', '200ms', '--data', dir]
  const late = await cli([...args, '--deadline', '500ms'])
  t.is(late.code, 3)
  t.ok(
    late.err.startsWith(
      'brume: pi-1: nothing has changed for 0.7 s: hello/web/0 on pi-1 is running\n'
    ),
    late.err
  )
  setTimeout(() => (rows = []), 400)
  t.is((await cli([...args, '--deadline', '300ms'])).code, 0)
})

test('move - one replica, by its slot or because there is only one', async (t) => {
  const asked: unknown[] = []
  let ref: object = { application: 'hello', microservice: 'web', slot: 2 }
  let rows = [replica()]
  const dir = await fakeDaemon(t, {
    'GET /resolve': () => ref,
    'GET /replicas': () => rows,
    'POST /replicas/:application/:microservice/:slot/move': async ({
      params,
      json
    }: ApiRequest) => {
      asked.push([params.slot, await json()])
      return replica()
    }
  })
  t.is((await cli(['move', 'hello/web/2', 'pi-2', '--data', dir])).code, 0)
  ref = { application: 'hello', microservice: 'web', slot: null }
  t.is((await cli(['move', 'web', '--undo', '--data', dir])).code, 0)
  t.alike(asked, [
    ['2', { node: 'pi-2' }],
    ['0', { node: null }]
  ])
  rows = [replica(), replica({ slot: 1 })]
  t.ok(
    (await cli(['move', 'web', 'pi-2', '--data', dir])).err.includes(
      'web has 2 replicas; say which'
    )
  )
  t.is((await cli(['move', 'web', '--data', dir])).code, 1)
})

test('rebalance - what moves, and nothing where all is even', async (t) => {
  let moves: object[] = [
    { application: 'hello', microservice: 'web', slot: 1, from: 'pi-1', to: 'pi-2' }
  ]
  const queries: (string | null)[] = []
  const dir = await fakeDaemon(t, {
    'POST /rebalance': ({ query }) => {
      queries.push(query.get('dry-run'))
      return { moves, offline: [] }
    }
  })
  t.ok(/hello\/web\/1 +pi-1 +pi-2/.test((await cli(['rebalance', '--dry-run', '--data', dir])).out))
  moves = []
  t.ok((await cli(['rebalance', '--data', dir])).err.includes('as evenly as they can be'))
  t.alike(queries, ['1', null])
})

test('explain - why each replica is where it is, and who may run one more', async (t) => {
  const dir = await fakeDaemon(t, {
    'GET /explain': () => [
      {
        ...{ application: 'hello', microservice: 'web' },
        replicas: [
          {
            slot: 0,
            node: 'pi-1',
            state: 'running',
            placed: 'pi-2 is silent since 5 s',
            reason: null
          },
          { slot: 1, node: null, state: 'waiting', placed: null, reason: 'pi-2 has no engine' }
        ],
        nodes: [
          { node: 'pi-1', replicas: 1, refusal: null },
          { node: 'pi-2', replicas: 0, refusal: 'has no engine' }
        ]
      }
    ]
  })
  const { out } = await cli(['explain', 'web', '--data', dir])
  t.ok(out.startsWith('hello/web/0 running on pi-1 because pi-2 is silent since 5 s\n'), out)
  t.ok(out.includes('hello/web/1 waiting nowhere; pi-2 has no engine\n'))
  t.ok(/pi-1 +1 +may run here\npi-2 +0 +no: has no engine\n/.test(out))
})

test('events - a line each, as JSON too', async (t) => {
  const event = {
    ...{ at: '2026-01-01T11:59:00.000Z', kind: 'leader', subject: 'pi-1' },
    text: 'pi-1 leads, term 2'
  }
  const asked: string[] = []
  const dir = await fakeDaemon(t, {
    'GET /events': ({ query }) => {
      asked.push(query.toString())
      return {
        lines: (async function* () {
          yield event
        })()
      }
    }
  })
  t.is((await cli(['events', '--data', dir])).out, '11:59:00  pi-1 leads, term 2\n')
  t.alike(
    JSON.parse((await cli(['events', '-f', '--tail', '5', '--json', '--data', dir])).out),
    event
  )
  t.alike(asked, ['tail=50', 'tail=5&follow=1'])
})
