/** Verbs about what people changed: `topic` is the verb. */
import test from 'brittle'
import type { AuditJson, ConflictsJson, HistoryJson, SideJson } from '../../../../apps/api.ts'
import { cli, fakeDaemon, NOW } from '../fake-daemon.ts'

const OP = 'ybndrfg8ejkmcpqxot1uwisza345h769ybndrfg8ejkmcpqxot1u.17'
const ago = (ms: number): string => new Date(NOW - ms).toISOString()
const side = (fields: Partial<SideJson>): SideJson => ({
  op: OP,
  by: 'office',
  at: ago(300_500),
  removed: false,
  has: 'replicas 3',
  ...fields
})

test('conflicts - both sides, a line each, and the command that ends it', async (t) => {
  const answer: ConflictsJson = {
    conflicts: [
      {
        id: '0123456789abcdef',
        noun: 'microservice',
        name: 'hello/web',
        standing: side({}),
        lost: side({ by: 'gate\u001b[2J', has: 'removed', at: ago(60_500) })
      }
    ],
    overspent: [
      {
        id: 'fedcba9876543210',
        invite: 'ybndrfg8ejkm',
        uses: 1,
        nodes: [
          { name: 'gate', state: 'member' },
          { name: 'van\u001b', state: 'pending' }
        ]
      }
    ],
    dropped: 2
  }
  const dir = await fakeDaemon(t, { 'GET /conflicts': () => answer })
  const { out, err, code } = await cli(['conflicts', '--data', dir])
  t.is(
    out,
    'microservice hello/web\n' +
      '  stands  office, 5 minutes ago: replicas 3\n' +
      '  lost    gate [2J, 60 seconds ago: removed\n' +
      '  next: brume conflict keep 01234567 puts back what lost, with --standing it stays as it is\n' +
      '\n' +
      'invite ybndrfg8ejkm\n' +
      '  for 1 node, let 2 in, on two sides of a split: gate, van (pending)\n' +
      '  next: brume node rm NODE takes one out again, brume invite rm ybndrfg8ejkm says that all are fine\n'
  )
  t.is(err, '2 older ones are not kept any more\n')
  t.is(code, 0)
})

test('conflict keep - says which, and wants the id of one', async (t) => {
  const asked: unknown[] = []
  const dir = await fakeDaemon(t, {
    'POST /conflicts/01234567/keep': async ({ json }) => {
      asked.push(await json())
      return { noun: 'microservice', name: 'hello/web', kept: side({}), offline: ['gate'] }
    }
  })
  const kept = await cli(['conflict', 'keep', '01234567', '--data', dir])
  t.is(kept.out, "microservice hello/web: office's edit stands (replicas 3)\n")
  t.is(kept.code, 4, 'somebody will hear of it later')
  await cli(['conflict', 'keep', '01234567', '--standing', '--data', dir])
  t.alike(asked, [{ which: 'lost' }, { which: 'standing' }])
  const wrong = await cli(['conflict', 'keep', 'hello/web', '--data', dir])
  t.is(wrong.code, 1)
  t.ok(wrong.err.includes('expected the id of a conflict, got "hello/web"'))
})

test('history - who, when, over what, and the revision a deploy may ask for', async (t) => {
  const asked: string[] = []
  const answer: HistoryJson = {
    name: 'hello/web',
    rev: '0123456789abcdef',
    revisions: [
      {
        noun: 'microservice',
        name: 'hello/web',
        n: 4,
        op: OP,
        by: 'office',
        at: ago(300_500),
        over: OP,
        overN: null,
        keeps: null,
        removed: false,
        change: 'replicas 3 → 5'
      },
      {
        noun: 'microservice',
        name: 'hello/web',
        n: 5,
        op: OP,
        by: 'gate',
        at: ago(120_500),
        over: OP,
        overN: 4,
        keeps: null,
        removed: true,
        change: 'removed'
      }
    ]
  }
  const dir = await fakeDaemon(t, {
    'GET /history': ({ query }) => {
      asked.push(query.toString())
      return answer
    }
  })
  const { out, err } = await cli(['history', 'hello/web', '--data', dir])
  t.is(
    out,
    '#   BY       WHEN            OVER          CHANGE\n' +
      '4   office   5 minutes ago   ybndrfg8.17   replicas 3 → 5\n' +
      '5   gate     2 minutes ago   #4            removed\n'
  )
  t.is(err, 'hello is at 0123456789abcdef, for deploy --if-rev\n')
  await cli(['history', 'node', 'pi-1', '--tail', '3', '--data', dir])
  t.alike(asked, ['ref=hello%2Fweb&tail=50', 'ref=pi-1&noun=node&tail=3'])
})

test('audit - asks for the end of it, and for one node', async (t) => {
  const asked: string[] = []
  const line: AuditJson = {
    op: OP,
    type: 'node.rm',
    subject: 'gate',
    by: 'office',
    at: ago(300_500),
    over: null
  }
  const dir = await fakeDaemon(t, {
    'GET /audit': ({ query }) => {
      asked.push(query.toString())
      return [line]
    }
  })
  t.is(
    (await cli(['audit', '--data', dir])).out,
    'WHEN            BY       WHAT      OF     OP            OVER\n' +
      '5 minutes ago   office   node.rm   gate   ybndrfg8.17   -\n'
  )
  await cli(['audit', '--tail', '7', '--by', 'office', '--data', dir])
  t.alike(asked, ['tail=50', 'tail=7&by=office'])
  t.is((await cli(['audit', '--tail', '0', '--data', dir])).code, 1)
})
