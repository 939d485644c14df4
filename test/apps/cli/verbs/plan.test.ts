import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'brittle'
import type { PlanResult } from '../../../../apps/api.ts'
import { cli, fakeDaemon, tempDir } from '../fake-daemon.ts'

test('plan - what would change, where it would run, what halves of the mesh would do, and the next command', async (t) => {
  const same = { line: '', rollout: null, placements: [], waiting: [], halves: 2 }
  let answer: PlanResult['microservices'] = [{ name: 'web', change: 'unchanged', ...same }]
  const dir = await fakeDaemon(t, {
    'POST /plan': () => ({ application: 'hello', microservices: answer })
  })
  const file = join(await tempDir(t), 'app.yaml')
  await writeFile(
    file,
    'apiVersion: brume/v1\nkind: Application\nmetadata: { name: hello }\nspec: { microservices: [{ name: web, image: "local/web:1" }] }\n'
  )
  const quiet = await cli(['plan', '-f', file, '--data', dir])
  t.alike([quiet.code, quiet.out], [0, 'hello/web unchanged\nnothing would change\n'], quiet.err)
  answer = [
    {
      ...{ name: 'web', change: 'created', line: '', rollout: null, halves: 4 },
      placements: [{ slot: 0, node: 'pi-1', reason: 'pi-1 fits' }],
      waiting: [{ slot: 1, reason: '4 nodes: 4 are silent' }]
    }
  ]
  const news = await cli(['plan', '-f', file, '--data', dir])
  t.is(news.code, 2)
  t.is(
    news.out,
    'hello/web created\n' +
      '  slot 0 on pi-1: pi-1 fits\n' +
      '  slot 1 is not placed: 4 nodes: 4 are silent\n' +
      '  4 nodes fit: split into 2 and 2, both sides run it until they meet\n' +
      `next: brume deploy -f ${file} --data ${dir}\n`
  )
})
