import test from 'brittle'
import type { Op } from '../../../core/state/index.ts'
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import { KEPT_BACK, neededBundles } from '../../../core/state/needed-bundles.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order } from '../../helpers/memory-view.ts'
import { specWith } from '../../helpers/spec.ts'

const at = 1
const [A, B] = members('secret', 'pi1', 'pi2') as [Member, Member]

const spec = (digest: string | null): MicroserviceSpec =>
  specWith({
    files:
      digest === null
        ? null
        : {
            digest: digest.repeat(64),
            bytes: 1,
            core: 'c'.repeat(64),
            blockOffset: digest.charCodeAt(0),
            blockLength: 1,
            byteOffset: 0
          }
  })

test('needed bundles - those of now, the last versions before, and both sides of a conflict', async (t) => {
  const it = order(A.writer)
  const must = async (by: Member, op: Op): Promise<void> => {
    const refusal = await it.apply(by.writer, op)
    if (refusal !== null) throw new Error(refusal)
  }
  const set = (by: Member, name: string, digest: string | null): Promise<void> =>
    must(by, {
      type: 'microservice.set',
      application: 'app',
      name,
      spec: spec(digest),
      over: null,
      at
    })
  const needed = async (): Promise<string> => {
    const found = await neededBundles(it.view)
    return [...new Set(found.map(({ digest }) => digest.slice(0, 1)))].sort().join('')
  }
  await must(A, { type: 'mesh.init', defaultRole: 'admin', admission: A.paper, at })
  await must(A, { type: 'node.admit', admission: B.paper, at })
  await must(A, { type: 'application.set', name: 'app', over: null, at })
  t.is(await needed(), '')
  for (const digest of ['0', '1', '2', null, '3', '4']) await set(A, 'web', digest)
  t.is(KEPT_BACK, 2)
  t.is(await needed(), '234')
  await set(A, 'web', '2')
  t.is(await needed(), '234', 'an older one again is the newest')
  await set(A, 'db', 'd')
  t.is(await needed(), '234d')
  await set(B, 'db', 'e')
  t.is(await needed(), '234de')
  await must(B, { type: 'microservice.rm', application: 'app', name: 'db', over: null, at })
  t.is(await needed(), '234d', 'what another set and the removal had not seen can be put back')
  await must(A, { type: 'microservice.rm', application: 'app', name: 'web', over: null, at })
  t.is(await needed(), 'd')
})
