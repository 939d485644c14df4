import { Readable } from 'node:stream'
import test from 'brittle'
import { demultiplexer } from '../../../../roles/agent/docker/demux.ts'
import type { LogLine } from '../../../../roles/agent/engine.ts'

test('demux - lines are whole however frames and chunks are cut', async (t) => {
  const bytes = Buffer.concat([
    frame(1, 'one\ntw'),
    frame(2, 'err é\n'),
    frame(1, ''),
    frame(1, 'o\r\n\nhalf')
  ])
  const expected: LogLine[] = [
    { stream: 'stdout', line: 'one' },
    { stream: 'stderr', line: 'err é' },
    { stream: 'stdout', line: 'two' },
    { stream: 'stdout', line: '' },
    { stream: 'stdout', line: 'half' }
  ]
  for (const size of [1, 2, 3, 7, 8, 9, bytes.length]) {
    t.alike(await linesOf(bytes, size), expected, `in chunks of ${size}`)
  }
})

test('demux - an endless line is cut and memory with it', async (t) => {
  const part = 'x'.repeat(64 * 1024)
  const bytes = Buffer.concat(Array.from({ length: 40 }, () => frame(1, part)))
  const lines = await linesOf(bytes, 64 * 1024)
  t.ok(lines.length > 1)
  t.is(lines.map(({ line }) => line).join('').length, 40 * part.length)
})

function frame(stream: number, text: string): Buffer {
  const body = Buffer.from(text)
  const header = Buffer.alloc(8)
  header[0] = stream
  header.writeUInt32BE(body.length, 4)
  return Buffer.concat([header, body])
}

async function linesOf(bytes: Buffer, chunkBytes: number): Promise<LogLine[]> {
  const chunks: Buffer[] = []
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    chunks.push(bytes.subarray(at, at + chunkBytes))
  }
  const lines: LogLine[] = []
  const source = Readable.from(chunks, { objectMode: false })
  for await (const line of source.pipe(demultiplexer())) lines.push(line as LogLine)
  return lines
}
