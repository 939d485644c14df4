import test from 'brittle'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkMachine } from '../../core/machine.ts'

test('machine - a directory knows its machine again, refuses another, and tells nobody its id', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'brume-test-'))
  t.teardown(() => rm(dir, { recursive: true }))
  await checkMachine(dir, null)
  await checkMachine(dir, 'one')
  await checkMachine(dir, 'one')
  await t.exception(() => checkMachine(dir, 'two'), /made on another machine/)
  await checkMachine(dir, null)
  await checkMachine(dir, 'one')
  t.absent((await readFile(join(dir, 'machine'), 'utf8')).includes('one'))
})
