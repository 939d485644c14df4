import test from 'brittle'
import type { BackupHead, BackupLine } from '../../../../apps/api.ts'
import { told } from '../../../../apps/cli/verbs/backup.ts'
import type { MicroserviceSpec } from '../../../../core/state/microservices.ts'
import { waitUntil } from '../../../helpers/wait.ts'
import { capture } from '../fake-daemon.ts'

const spec = (digest: string, bytes: number): MicroserviceSpec =>
  ({ files: { digest, bytes } }) as unknown as MicroserviceSpec

const head: BackupHead = {
  version: '0',
  at: '',
  mesh: 'm',
  key: null,
  bootstrap: [],
  defaultRole: 'admin',
  nodes: [],
  applications: [
    {
      application: 'hello',
      microservices: [
        { name: 'web', spec: spec('a', 3 * 2 ** 20) },
        { name: 'same', spec: spec('a', 3 * 2 ** 20) },
        { name: 'db', spec: spec('b', 2 ** 20) }
      ]
    }
  ]
}

test('backup - what takes its time says how far it is, what does not is silent', async (t) => {
  const { output, text } = capture()
  const says = (what: string): Promise<void> => waitUntil(() => text().includes(what), 10_000)
  const chunk = Buffer.alloc(2 ** 20).toString('base64')
  async function* slow(): AsyncGenerator<BackupLine> {
    await says('reading what is desired\n')
    yield { head }
    await says('reading 0.0 of 4.0 MiB of files\n')
    yield { bundle: 'a', chunk }
    await says('reading 1.0 of 4.0 MiB of files\n')
  }
  const passed: BackupLine[] = []
  for await (const line of told(slow(), output, 5)) passed.push(line)
  t.alike(passed, [{ head }, { bundle: 'a', chunk }], 'and every line is passed on')
  const before = text()
  async function* fast(): AsyncGenerator<BackupLine> {
    yield { head }
  }
  for await (const line of told(fast(), output)) t.ok(line)
  t.is(text(), before)
})
