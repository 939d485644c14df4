import test from 'brittle'
import { age, oneLine, pairs, replicaTable, since, table } from '../../../apps/cli/print.ts'
import { capture, NOW, replica } from './fake-daemon.ts'

const pipe = capture().output

test('print - ps is aligned; REASON is there only when there is one', (t) => {
  const rows = [
    replica({ ports: [{ container: 80, host: 32768, protocol: 'tcp' }], healthy: true }),
    replica({ slot: 10, node: 'a-long-name', since: null, image: null })
  ]
  t.is(
    replicaTable(rows, pipe, NOW),
    'APPLICATION/MICROSERVICE/SLOT   NODE          STATE     HEALTH    SINCE       PORTS           IMAGE\n' +
      'hello/web/0                     pi-1          running   healthy   3 minutes   32768->80/tcp   local/node:20\n' +
      'hello/web/10                    a-long-name   running   -         -           -               -\n'
  )
  const waiting = replica({ node: null, state: 'waiting', since: null, reason: 'no node fits' })
  t.is(
    replicaTable([waiting], pipe, NOW),
    'APPLICATION/MICROSERVICE/SLOT   NODE   STATE     HEALTH   SINCE   PORTS   IMAGE           REASON\n' +
      'hello/web/0                     -      waiting   -        -       -       local/node:20   no node fits\n'
  )
})

test('print - ps shows ports of many nodes, and why one is not open where the replica itself is well', (t) => {
  const port = { port: 8080, to: 80, protocol: 'http' as const }
  const ports = [{ container: 80, host: 32768, protocol: 'tcp' as const }]
  const rows = [
    replica({ ports, exposed: [{ ...port, problem: null }] }),
    replica({ exposed: [{ ...port, problem: 'not open on n2: only root opens port 80' }] }),
    replica({ exposed: [{ ...port, problem: 'not open on n2' }], reason: 'its own' })
  ]
  const [, open = '', closed = '', own = ''] = replicaTable(rows, pipe, NOW).split('\n')
  t.ok(open.includes(' 32768->80/tcp, *:8080->80/http '), open)
  t.ok(closed.endsWith('port 8080 not open on n2: only root opens port 80'), closed)
  t.ok(own.endsWith('its own'), own)
})

test('print - an empty list is a header', (t) => {
  t.is(
    replicaTable([], pipe, NOW),
    'APPLICATION/MICROSERVICE/SLOT   NODE   STATE   HEALTH   SINCE   PORTS   IMAGE\n'
  )
})

test('print - a terminal cuts lines at its width, a pipe does not', (t) => {
  const columns = [
    { title: 'A', cell: (x: string) => x },
    { title: 'B', cell: (x: string) => x }
  ]
  const tty = capture({ tty: { columns: 12, rows: 24 } }).output
  t.is(table(['abcdefg'], columns, tty), 'A         B\nabcdefg   a…\n')
  t.is(table(['abcdefghijklmnop'], columns, tty), 'A\nabcdefghijk…\n')
  t.is(table(['abcdefg'], columns, pipe), 'A         B\nabcdefg   abcdefg\n')
})

test('print - colours are of cells, and never count as width', (t) => {
  const { output } = capture({ color: true })
  const columns = [
    { title: 'A', cell: (x: string) => x, color: () => 32 },
    { title: 'B', cell: (x: string) => x }
  ]
  t.is(
    table(['x', 'yy'], columns, output),
    'A    B\n\x1b[32mx\x1b[0m    x\n\x1b[32myy\x1b[0m   yy\n'
  )
  t.absent(table(['x'], columns, pipe).includes('\x1b'))
})

test('print - what other nodes wrote cannot move the cursor or break a line', (t) => {
  t.is(oneLine('a\x1b[2Jb\r\nc\u009bd'), 'a [2Jb c d')
  const rows = [replica({ reason: 'exit 1\n\x1b[31mhello/web/1 running' })]
  t.is(replicaTable(rows, pipe, NOW).split('\n').length, 3)
  t.absent(replicaTable(rows, pipe, NOW).includes('\x1b'))
})

test('print - ages are in the greatest unit of which there are two', (t) => {
  const ages: [number, string][] = [
    [-5_000, '0 seconds'],
    [999, '0 seconds'],
    [1_000, '1 second'],
    [59_000, '59 seconds'],
    [119_000, '119 seconds'],
    [120_000, '2 minutes'],
    [7_199_000, '119 minutes'],
    [7_200_000, '2 hours'],
    [172_800_000, '2 days'],
    [14 * 86_400_000, '2 weeks'],
    [400 * 86_400_000, '13 months'],
    [800 * 86_400_000, '2 years']
  ]
  for (const [ms, text] of ages) t.is(age(ms), text)
  t.is(since('2026-01-01T11:59:30Z', NOW), '30 seconds')
  t.is(since('nonsense', NOW), '')
})

test('print - pairs stand under each other', (t) => {
  t.is(
    pairs([
      ['name', 'pi'],
      ['leader', '']
    ]),
    'name:    pi\nleader:  -\n'
  )
})
