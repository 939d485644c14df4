import { once } from 'node:events'
import { Readable } from 'node:stream'
import test from 'brittle'
import { linesOf } from '../../core/lines.ts'

const all = async (stream: Readable): Promise<string[]> => {
  const found: string[] = []
  for await (const line of linesOf(stream)) found.push(line)
  return found
}

test('lines - cut anywhere, a letter of several bytes too, and the last without an end', async (t) => {
  const bytes = Buffer.from('one\n\nzwölf\nlast')
  const pieces = [...bytes].map((byte) => Buffer.from([byte]))
  t.alike(await all(Readable.from(pieces)), ['one', '', 'zwölf', 'last'])
  t.alike(await all(Readable.from([bytes])), ['one', '', 'zwölf', 'last'])
})

test('lines - of a stream that was over before anybody read it there are none', async (t) => {
  const stream = Readable.from([])
  stream.resume()
  await once(stream, 'close')
  t.alike(await all(stream), [])
})

test('lines - of a stream that is cut short are an error, also one that was cut before', async (t) => {
  const before = Readable.from(['one\n'])
  before.destroy()
  await once(before, 'close')
  await t.exception(() => all(before))

  const stream = new Readable({ read() {} })
  stream.push('one\ntw')
  const lines = linesOf(stream)
  t.is((await lines.next()).value, 'one')
  const next = lines.next()
  stream.destroy()
  await t.exception(() => next)
})
