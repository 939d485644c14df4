import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'brittle'
import { exitCodeOf, launch } from '../../../../roles/agent/process/launch.ts'
import { waitUntil } from '../../../helpers/wait.ts'
import { isThere } from '../../../helpers/leftovers.ts'

test('launch - the end of what has ended before anybody asks is heard', async (t) => {
  const dir = await t.tmp()
  const { pid, exited } = await launch({
    command: ['/bin/sh', '-c', 'exit 0'],
    cwd: dir,
    env: {},
    log: join(dir, 'log'),
    exit: join(dir, 'exit')
  })
  await waitUntil(async () => !(await isThere(pid)))
  // Its end is told in a turn of its own.
  await sleep(50)
  const late = sleep(5_000, null, { ref: false })
  const ended = await Promise.race([exited, late])
  t.is(ended === null ? null : exitCodeOf(...ended), 137, 'the launcher ends its group')
})
