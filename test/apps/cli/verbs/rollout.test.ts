import { once } from 'node:events'
import test from 'brittle'
import type { RolloutJson } from '../../../../apps/api.ts'
import type { ApiRequest } from '../../../../apps/daemon/socket.ts'
import { cli, fakeDaemon, replica, watched } from '../fake-daemon.ts'

const REF = { application: 'hello', microservice: 'web', slot: null }

const rollout = (fields: Partial<RolloutJson> = {}): RolloutJson => ({
  application: 'hello',
  microservice: 'web',
  revision: 'bbbb1111bbbb1111',
  from: 'aaaa1111aaaa1111',
  state: 'running',
  promoted: false,
  awaitsPromotion: false,
  slots: 3,
  renewed: 1,
  up: 0,
  waits: 'waits for its turn: 1 of 3 take the new revision',
  reason: null,
  log: [],
  by: 'pi-1',
  at: '2026-01-01T11:59:00Z',
  ...fields
})

test('rollout status - how far it is, and what failed', async (t) => {
  const failed = rollout({
    ...{ state: 'rolledBack', from: null, waits: null },
    ...{ reason: 'hello/web/0 on pi-2 does not run', log: ['no database'] }
  })
  const dir = await fakeDaemon(t, { 'GET /rollouts': () => [rollout(), failed] })
  const { out, code } = await cli(['rollout', 'status', '--data', dir])
  t.is(code, 0)
  const [, first, second, third] = out.split('\n')
  t.ok(
    /^hello\/web +under way +bbbb1111 +aaaa1111 +1\/3, 0 up +60 seconds +waits for/.test(
      first ?? ''
    ),
    first
  )
  t.ok(/^hello\/web +rolled back +bbbb1111 +- /.test(second ?? ''), second)
  t.is(third, '  web | no database')
})

test('rollout pause, resume, promote - say so', async (t) => {
  const asked: unknown[] = []
  const dir = await fakeDaemon(t, {
    'GET /resolve': () => REF,
    'POST /applications/:application/:microservice/rollout': async ({ json }: ApiRequest) => {
      asked.push(await json())
      return rollout()
    }
  })
  for (const action of ['pause', 'resume', 'promote']) {
    t.is((await cli(['rollout', action, 'web', '--data', dir])).code, 0)
  }
  t.alike(asked, [{ action: 'pause' }, { action: 'resume' }, { action: 'promote' }])
})

test('rollback - to a number or the one before; waits for the rollout and fails with it', async (t) => {
  const asked: unknown[] = []
  let become = rollout({ state: 'done' })
  const dir = await fakeDaemon(t, {
    'GET /resolve': () => REF,
    'POST /applications/:application/:microservice/rollback': async ({ json }: ApiRequest) => {
      asked.push(await json())
      const changes = [{ microservice: 'web', change: 'updated', revision: become.revision }]
      return { application: 'hello', changes, offline: [] }
    },
    'GET /describe': () => ({ microservices: [{ name: 'web', spec: { replicas: 1 } }] }),
    'GET /watch': ({ signal }) => ({
      events: (async function* () {
        yield { event: 'rollouts', data: [rollout()] }
        yield { event: 'replicas', data: [watched()] }
        yield { event: 'rollouts', data: [become] }
        if (!signal.aborted) await once(signal, 'abort')
      })()
    }),
    'GET /replicas': () => [replica()]
  })
  t.is((await cli(['rollback', 'web', '--data', dir])).code, 0)
  t.is((await cli(['rollback', 'web', '#3', '-d', '--data', dir])).code, 0)
  t.alike(asked, [{}, { n: 3 }])
  become = rollout({
    state: 'rolledBack',
    reason: 'hello/web/0 does not run',
    log: ['no database']
  })
  const failed = await cli(['rollback', 'web', '--data', dir])
  t.is(failed.code, 1)
  t.ok(
    failed.err.includes(
      'brume: hello/web: revision bbbb1111 failed and was rolled back: hello/web/0 does not run\n  no database\n'
    ),
    failed.err
  )
  become = rollout({ state: 'paused', reason: 'hello/web/0 does not run' })
  t.ok((await cli(['rollback', 'web', '--data', dir])).err.includes('is paused: hello/web/0 does'))
  become = rollout({ awaitsPromotion: true, up: 1 })
  const canary = await cli(['rollback', 'web', '--data', dir])
  t.is(canary.code, 0)
  t.ok(
    canary.err.includes(
      'hello/web: 1 run the new revision and wait: brume rollout promote hello/web'
    ),
    canary.err
  )
  t.is((await cli(['rollback', 'web', 'x', '--data', dir])).code, 1)
})

test('stop, start, restart - of an application or a microservice, never of a replica', async (t) => {
  const asked: string[] = []
  let answer: object = REF
  const done = (action: string) => {
    asked.push(action)
    return { application: 'hello', changes: [], offline: [] }
  }
  const dir = await fakeDaemon(t, {
    'GET /resolve': () => answer,
    'POST /applications/:application/stop': () => done('stop all'),
    'POST /applications/:application/:microservice/start': () => done('start'),
    'POST /applications/:application/:microservice/restart': () => done('restart'),
    'GET /replicas': () => [replica({ state: 'stopped', node: null })]
  })
  t.is((await cli(['start', 'web', '-d', '--data', dir])).code, 0)
  t.is((await cli(['restart', 'web', '-d', '--data', dir])).code, 0)
  answer = { ...REF, microservice: null }
  const stopped = await cli(['stop', 'hello', '-d', '--data', dir])
  t.ok(/hello\/web\/0 +- +stopped/.test(stopped.out), stopped.out)
  t.alike(asked, ['start', 'restart', 'stop all'])
  answer = { ...REF, slot: 1 }
  t.ok((await cli(['stop', 'hello/web/1', '--data', dir])).err.includes('is one replica'))
})
