import test from 'brittle'
import { execFileSync } from 'node:child_process'
import { mkdir, open, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { BrumeError } from '../../../core/errors.ts'
import { readFiles } from '../../../apps/formats/files.ts'
import { ours } from './refused.ts'

async function codeOf(path: string): Promise<{ code: string; message: string }> {
  try {
    await readFiles(path)
  } catch (error) {
    if (error instanceof BrumeError) return error
    throw error
  }
  return { code: 'taken', message: '' }
}

test('application - a directory is every yaml file in it, by name', async (t) => {
  const dir = await t.tmp()
  await writeFile(join(dir, 'b.yml'), ours('image: x').replace('hello', 'second'))
  await writeFile(join(dir, 'a.yaml'), ours('image: x', 'files: web').replace('hello', 'first'))
  await writeFile(join(dir, 'notes.txt'), 'not read')
  await mkdir(join(dir, 'c.yaml'))
  const { applications: read } = await readFiles(dir)
  t.alike(
    read.map((a) => a.application),
    ['first', 'second']
  )
  t.is(read[0]?.microservices[0]?.filesDir, join(dir, 'web'))
  t.is(read[0]?.microservices[0]?.filesAt, `${join(dir, 'a.yaml')}:8`)

  await writeFile(join(dir, 'd.yaml'), ours('image: x').replace('hello', 'first'))
  const { code, message } = await codeOf(dir)
  t.is(code, 'BAD_FILE')
  t.ok(/d\.yaml: .*a\.yaml describes the application first too$/.test(message), message)
})

test('application - what cannot be read says so', async (t) => {
  const dir = await t.tmp()
  const missing = await codeOf(join(dir, 'none.yaml'))
  t.is(missing.code, 'FILE_MISSING')
  t.ok(missing.message.endsWith('none.yaml: no such file or directory'))
  const empty = await codeOf(dir)
  t.is(empty.code, 'FILE_MISSING')
  t.ok(empty.message.endsWith('no *.yaml or *.yml file in this directory'))
  await writeFile(join(dir, 'binary.yaml'), Buffer.from([0xff, 0xfe, 0x61, 0x00]))
  t.ok(
    (await codeOf(join(dir, 'binary.yaml'))).message.endsWith('binary.yaml: expected UTF-8 text')
  )
})

test('application - a file over 1 MiB is refused unread, a pipe at the limit', async (t) => {
  const file = join(await t.tmp(), 'big.yaml')
  const handle = await open(file, 'w')
  // Sparse: a terabyte could not be read in the time of this test.
  await handle.truncate(2 ** 40)
  await handle.close()
  const big = await codeOf(file)
  t.is(big.code, 'FILE_TOO_LARGE')
  t.ok(
    /expected an application file of at most 1 MiB, got 1048576.0 MiB$/.test(big.message),
    big.message
  )
  t.is((await codeOf('/dev/zero')).code, 'FILE_TOO_LARGE')
})

test('application - a byte order mark and CRLF do no harm', async (t) => {
  const file = join(await t.tmp(), 'app.yaml')
  await writeFile(file, `\ufeff${ours('image: x').replaceAll('\n', '\r\n')}`)
  t.is((await readFiles(file)).applications[0]?.application, 'hello')
})

test('application - the hello example is one', async (t) => {
  const dir = fileURLToPath(new URL('../../../apps/examples/hello', import.meta.url))
  const {
    applications: [hello]
  } = await readFiles(join(dir, 'app.yaml'))
  t.is(hello?.application, 'hello')
  t.alike(hello?.warnings, [])
  t.is(hello?.microservices[0]?.filesDir, join(dir, 'web'))
  t.is(hello?.microservices[0]?.spec.replicas, 3)
  execFileSync(process.execPath, ['--check', join(dir, 'web/server.js')])
})
