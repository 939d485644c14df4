/** Revisions that come, fail and go back, on real engines: no moment with fewer that serve than asked. */
import test from 'brittle'
import type { ReplicaJson, RolloutJson } from '../../apps/api.ts'
import { createFleet, type Fleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { idle, writeApp } from './apps.ts'
import { countServing, runningOf, type Listed } from '../helpers/serving.ts'
import { waitUntil } from '../helpers/wait.ts'
import { said } from './look.ts'

const LATE_MS = 60_000
/** A container takes half a second until it serves, and says so to its healthcheck; looks come late. */
const SERVES_AFTER_MS = 300
const serving = ['sh', '-c', 'trap "exit 0" TERM; sleep 0.5; touch /tmp/up; sleep 100000 & wait']

/** The number tells one revision from another. */
const web = (revision: string, over: object = {}): object => ({
  name: 'web',
  image: 'local/busybox:1',
  command: serving,
  labels: { of: revision },
  replicas: 3,
  healthcheck: {
    test: ['CMD', 'test', '-f', '/tmp/up'],
    interval: '500ms',
    startPeriod: '5s',
    retries: 1
  },
  update: { monitor: '300ms' },
  ...over
})

test('rollout - of a microservice, on real engines', { timeout: 300_000 }, async (t) => {
  const fleet = await createFleet(t, await createLab(4, t))
  const [one, two] = fleet.nodes as [FleetNode, FleetNode]
  const deploy = async (...microservices: object[]): ReturnType<FleetNode['brume']> =>
    one.brume('deploy', '-f', await writeApp(one.host.dir, 'shop', microservices))
  const first = await deploy(web('1'))
  t.is(first.code, 0, said(first))

  await t.test('plan - says what a deploy would change, and changes nothing', async (t) => {
    const same = await two.brume('plan', '-f', await writeApp(two.host.dir, 'shop', [web('1')]))
    t.is(same.code, 0, said(same))
    t.is(same.stdout, 'shop/web unchanged\nnothing would change\n')
    const file = await writeApp(two.host.dir, 'shop', [
      web('2', { replicas: 4 }),
      { name: 'db', ...idle, node: 'n9' }
    ])
    const other = await two.brume('plan', '-f', file)
    t.is(other.code, 2)
    for (const words of [
      'shop/web updated: labels.of 1 → 2, replicas 3 → 4',
      'rolled out 1 at a time, the new one first, watched for 0.3 s; back again where it fails',
      'slot 3 on n',
      'shop/db created',
      'slot 0 is not placed: no member is named n9',
      `next: brume deploy -f ${file}`
    ]) {
      t.ok(other.stdout.includes(words), `${words} in ${other.stdout}`)
    }
    t.alike(await revisions(fleet), ['1', '1', '1'])
  })

  await t.test('rollout - startFirst: at no time fewer than all', async (t) => {
    const seen = sample(fleet)
    const second = await deploy(web('2'))
    t.is(second.code, 0, said(second))
    const counts = await seen.end()
    t.ok(counts.length > 10, `${counts.length} looks`)
    t.ok(Math.min(...counts) >= 3, `at least ${Math.min(...counts)} of 3 ran`)
    t.alike(await revisions(fleet), ['2', '2', '2'])
    const [rollout] = await two.json<RolloutJson[]>('rollout', 'status', 'shop/web')
    t.is(rollout?.state, 'done')
    t.is(rollout?.renewed, 3)
  })

  await t.test('rollout - stopFirst: one at a time', async (t) => {
    const seen = sample(fleet)
    const update = { order: 'stopFirst', monitor: '300ms' }
    const done = await deploy(web('3', { update }))
    t.is(done.code, 0, said(done))
    const counts = await seen.end()
    t.ok(Math.min(...counts) >= 2, `at least ${Math.min(...counts)} of 3 ran`)
    t.alike(await revisions(fleet), ['3', '3', '3'])
  })

  await t.test(
    'rollout - a revision that does not run goes back by itself, and says why',
    async (t) => {
      const seen = sample(fleet)
      const command = ['sh', '-c', 'echo no database; exit 3']
      const failed = await deploy(web('4', { command }))
      t.is(failed.code, 1)
      t.ok(
        /shop\/web: revision \w+ failed and was rolled back: shop\/web\/\d on n\d/.test(
          failed.stderr
        ),
        said(failed)
      )
      t.ok(failed.stderr.includes('no database'), 'with the last lines of its log')
      await untilRevisions(fleet, ['3', '3', '3'])
      const counts = await seen.end()
      t.ok(Math.min(...counts) >= 3, `at least ${Math.min(...counts)} of 3 ran`)
      const [rollout] = await two.json<RolloutJson[]>('rollout', 'status', 'shop/web')
      t.is(rollout?.state, 'rolledBack')
      t.ok(rollout?.reason?.includes('exit code 3'), rollout?.reason ?? '')
      const history = await two.brume('history', 'shop/web')
      t.ok(history.stdout.includes('put back'), said(history))
    }
  )

  await t.test('rollout - one that is never healthy goes back too, stopFirst', async (t) => {
    const seen = sample(fleet)
    const healthcheck = { test: ['CMD', 'false'], interval: '500ms', retries: 1 }
    const update = { order: 'stopFirst' }
    const failed = await deploy(web('5', { healthcheck, update }))
    t.is(failed.code, 1)
    t.ok(failed.stderr.includes('is not healthy') || failed.stderr.includes('health'), said(failed))
    await untilRevisions(fleet, ['3', '3', '3'])
    const counts = await seen.end()
    t.ok(Math.min(...counts) >= 2, `at least ${Math.min(...counts)} of 3 ran`)
  })

  await t.test('rollout - a canary waits to be promoted', async (t) => {
    const update = { canary: 1, monitor: '300ms' }
    const asked = await deploy(web('6', { update }))
    t.is(asked.code, 0, said(asked))
    t.ok(
      asked.stderr.includes('brume rollout promote shop/web') ||
        asked.stderr.includes('rollout promote shop/web'),
      said(asked)
    )
    await untilRevisions(fleet, ['3', '3', '6'])
    const promoted = await two.brume('rollout', 'promote', 'shop/web')
    t.is(promoted.code, 0, said(promoted))
    await untilRevisions(fleet, ['6', '6', '6'])
  })

  await t.test('rollback - to the revision before, by hand', async (t) => {
    const back = await two.brume('rollback', 'web')
    t.is(back.code, 0, said(back))
    t.alike(await revisions(fleet), ['3', '3', '3'])
  })

  await t.test('restart, stop, start - of a whole application', async (t) => {
    const before = await ids(fleet)
    const seen = sample(fleet)
    // Revision 3 came with stopFirst, and that came back with it.
    const restarted = await two.brume('restart', 'shop')
    t.is(restarted.code, 0, said(restarted))
    const counts = await seen.end()
    t.ok(Math.min(...counts) >= 2, `at least ${Math.min(...counts)} of 3 ran`)
    const after = await ids(fleet)
    t.is(after.filter((id) => before.includes(id)).length, 0, 'all are other containers')
    const stopped = await two.brume('stop', 'shop')
    t.is(stopped.code, 0, said(stopped))
    t.alike(await ids(fleet), [])
    const rows = await one.json<ReplicaJson[]>('ps', 'shop')
    t.alike(
      rows.map(({ state, node }) => [state, node]),
      [
        ['stopped', null],
        ['stopped', null],
        ['stopped', null]
      ]
    )
    const started = await one.brume('start', 'shop')
    t.is(started.code, 0, said(started))
    t.alike(await revisions(fleet), ['3', '3', '3'])
  })

  await t.test('rollout - goes on when its leader dies', async (t) => {
    const update = { delay: '1s', monitor: '300ms' }
    const detached = await one.brume(
      'deploy',
      '-d',
      '-f',
      await writeApp(one.host.dir, 'shop', [web('7', { update })])
    )
    t.is(detached.code, 0, said(detached))
    const { leader } = await one.json<{ leader: string }>('status')
    const dead = fleet.nodes.find(({ name }) => name === leader) as FleetNode
    await dead.kill()
    const other = fleet.nodes.find((node) => node !== dead) as FleetNode
    const done = await other.until<RolloutJson[]>(
      ['rollout', 'status', 'shop/web'],
      ([rollout]) => rollout?.state === 'done',
      LATE_MS
    )
    t.is(done[0]?.state, 'done')
    await dead.start()
  })
})

const sockets = (fleet: Fleet): string[] =>
  fleet.nodes.map(({ dockerSocket }) => dockerSocket as string)

const sample = (fleet: Fleet): ReturnType<typeof countServing> =>
  countServing('shop', sockets(fleet), SERVES_AFTER_MS)

const shop = (fleet: Fleet): Promise<Listed[]> => runningOf('shop', sockets(fleet))

const ids = async (fleet: Fleet): Promise<string[]> => (await shop(fleet)).map(({ Id }) => Id)

/** The label that tells which deploy each running container is of, in order. */
async function revisions(fleet: Fleet): Promise<string[]> {
  return (await shop(fleet)).map(({ Labels }) => Labels['of'] ?? '').sort()
}

async function untilRevisions(fleet: Fleet, wanted: string[]): Promise<void> {
  await waitUntil(async () => (await revisions(fleet)).join() === wanted.join(), LATE_MS)
}
