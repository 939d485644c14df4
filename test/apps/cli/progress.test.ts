import test from 'brittle'
import { createProgress } from '../../../apps/cli/progress.ts'
import { capture, watched } from './fake-daemon.ts'

test('progress - off a terminal: one plain line a change, with its time', (t) => {
  const { output, text } = capture()
  const progress = createProgress(output, 0)
  const waiting = watched({ node: null, state: 'waiting', reason: 'no leader yet' })
  progress.show([waiting], 0)
  progress.show([waiting], 500)
  progress.show([watched({ state: 'starting' })], 1_000)
  progress.show([watched({ checked: true })], 1_400)
  progress.show([watched({ checked: true, healthy: true, reason: 'old news' })], 12_400)
  progress.end()
  t.is(
    text(),
    'hello/web/0 waiting: no leader yet (0.0s)\n' +
      'hello/web/0 starting on pi-1 (1.0s)\n' +
      'hello/web/0 checking on pi-1 (1.4s)\n' +
      'hello/web/0 running on pi-1 (12s)\n'
  )
})

test('progress - an old copy beside the new one is told apart', (t) => {
  const { output, text } = capture()
  const progress = createProgress(output, 0)
  const rows = [
    watched({ state: 'starting', node: 'pi-2' }),
    watched({ state: 'retiring', wanted: null })
  ]
  progress.show(rows, 0)
  progress.show(rows, 100)
  progress.show([watched({ revision: 'older' })], 200)
  t.is(
    text(),
    'hello/web/0 starting on pi-2 (0.0s)\n' +
      'hello/web/0 retiring (old) on pi-1 (0.0s)\n' +
      'hello/web/0 replacing on pi-1 (0.2s)\n'
  )
})

test('progress - on a terminal the table is drawn over itself, and not when nothing changed', (t) => {
  const { output, text } = capture({ tty: { columns: 60, rows: 24 } })
  const progress = createProgress(output, 0)
  progress.show([watched({ state: 'starting' })], 1_000)
  progress.show([watched()], 2_000)
  progress.show([watched()], 9_000)
  progress.end()
  t.is(
    text(),
    'REPLICA       NODE   PHASE      ELAPSED\nhello/web/0   pi-1   starting   1.0s\n' +
      '\x1b[2A\x1b[J' +
      'REPLICA       NODE   PHASE     ELAPSED\nhello/web/0   pi-1   running   2.0s\n'
  )
})

test('progress - a table higher than the terminal is cut, so that it can be drawn over', (t) => {
  const { output, text } = capture({ tty: { columns: 60, rows: 6 } })
  const rows = Array.from({ length: 9 }, (_, slot) => watched({ slot }))
  const progress = createProgress(output, 0)
  progress.show(rows, 1_000)
  t.is(
    text(),
    'REPLICA       NODE   PHASE     ELAPSED\nhello/web/0   pi-1   running   1.0s\n' +
      'hello/web/1   pi-1   running   1.0s\n… and 7 more\n'
  )
})

test('progress - cleared, it leaves nothing on a terminal, and what was written elsewhere', (t) => {
  const terminal = capture({ tty: { columns: 60, rows: 24 } })
  const live = createProgress(terminal.output, 0)
  live.clear()
  t.is(terminal.text(), '', 'nothing was drawn')
  live.show([watched()], 1_000)
  live.clear()
  live.end()
  t.ok(terminal.text().endsWith('running   1.0s\n\x1b[2A\x1b[J'))

  const file = capture()
  const lines = createProgress(file.output, 0)
  lines.show([watched()], 1_000)
  lines.clear()
  t.is(file.text(), 'hello/web/0 running on pi-1 (1.0s)\n')
})

test('progress - what the Controller did and why: a line of its own, on a terminal the newest below the table', (t) => {
  const plain = capture()
  const lines = createProgress(plain.output, 0)
  lines.tell('hello/web/0 is placed on pi-1: only pi-1 fits', 200)
  lines.show([watched()], 1_000)
  t.is(
    plain.text(),
    'hello/web/0 is placed on pi-1: only pi-1 fits (0.2s)\nhello/web/0 running on pi-1 (1.0s)\n'
  )
  const { output, text } = capture({ tty: { columns: 40, rows: 24 } })
  const progress = createProgress(output, 0)
  progress.tell('hello/web/0 is placed on pi-1: only pi-1 fits', 200)
  progress.show([watched()], 1_000)
  t.ok(text().endsWith('1.0s\nhello/web/0 is placed on pi-1: only pi-\n'), text())
})
