import { appendFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'brittle'
import type { LogLine } from '../../../../roles/agent/engine.ts'
import { RotatedLog } from '../../../../roles/agent/process/log.ts'
import { waitUntil } from '../../../helpers/wait.ts'

const LINES = 10
const stopped = { isRunning: async (): Promise<boolean> => false }

test('process log - kept files are read in order, the oldest goes', async (t) => {
  const dir = await t.tmp()
  const file = join(dir, 'log')
  const log = new RotatedLog(file, 1)
  for (let batch = 0; batch < 4; batch++) {
    await appendFile(file, batchOf(batch))
    if (batch < 3) await log.rotate()
  }
  t.alike((await readdir(dir)).sort(), ['log', 'log.1', 'log.2'])
  const all = await linesOf(log, null)
  t.is(all.length, 3 * LINES)
  t.is(all[0], 'line 1.0')
  t.is(all.at(-1), 'line 3.9')
  t.alike(await linesOf(log, 12), all.slice(-12))
  t.alike(await linesOf(log, 20), all.slice(-20))
  t.alike(await linesOf(log, 1000), all)
  t.alike(await linesOf(log, 0), [])
})

test('process log - a small one is left alone', async (t) => {
  const dir = await t.tmp()
  const log = new RotatedLog(join(dir, 'log'), 1000)
  await log.rotate()
  await appendFile(join(dir, 'log'), 'short\n')
  await log.rotate()
  t.alike(await readdir(dir), ['log'])
})

test('process log - who follows loses nothing to a rotation', async (t) => {
  const file = join(await t.tmp(), 'log')
  const log = new RotatedLog(file, 1)
  let running = true
  const stream = log.read({ follow: true, tail: null, isRunning: async () => running })
  const lines: string[] = []
  const ended = new Promise((resolve) => stream.once('end', resolve))
  stream.on('data', ({ line }: LogLine) => lines.push(line))

  for (let batch = 0; batch < 5; batch++) {
    await appendFile(file, batchOf(batch))
    // Read up to the middle of a line when it is rotated.
    await waitUntil(() => lines.length >= batch * LINES + LINES)
    await appendFile(file, 'tail\n')
    await log.rotate()
    await waitUntil(() => lines.includes('tail'))
    lines.splice(lines.indexOf('tail'), 1)
  }
  running = false
  await ended
  t.is(lines.length, 5 * LINES)
  t.is(lines.join('\n') + '\n', [0, 1, 2, 3, 4].map(batchOf).join(''))
})

function batchOf(batch: number): string {
  return Array.from({ length: LINES }, (_, i) => `line ${batch}.${i}\n`).join('')
}

async function linesOf(log: RotatedLog, tail: number | null): Promise<string[]> {
  const lines: string[] = []
  const stream = log.read({ follow: false, tail, ...stopped })
  for await (const { line } of stream as AsyncIterable<LogLine>) lines.push(line)
  return lines
}
