import test from 'brittle'
import type Autobase from 'autobase'
import { setTimeout as sleep } from 'node:timers/promises'
import { ackMs, paceAcks, restBetweenLooks } from '../../core/pace.ts'
import { createMesh, untilState } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

const LOOK_MS = 60

test('pace - acknowledgements are as frequent as in a small mesh up to 16, then rarer', (t) => {
  t.is(ackMs(1), 1_000)
  t.is(ackMs(16), 1_000)
  t.is(ackMs(48), 9_000)
  t.is(ackMs(1_000), 15_000)
  const base = { _ackInterval: 0, _ackTimer: { interval: 0 } }
  paceAcks(base as unknown as Autobase<never>, 48)
  t.alike(base, { _ackInterval: 9_000, _ackTimer: { interval: 9_000 } })
})

test('pace - what comes while a base works is looked at in one, after a rest as long', async (t) => {
  const looks: { from: number; to: number }[] = []
  const base = {
    async _advance() {
      const from = performance.now()
      await sleep(LOOK_MS)
      looks.push({ from, to: performance.now() })
    },
    _onremotewriterchangeBound: () => void base._advance()
  }
  restBetweenLooks(base as unknown as Autobase<never>)
  base._onremotewriterchangeBound()
  for (let i = 0; i < 50; i++) base._onremotewriterchangeBound()
  await waitUntil(() => looks.length === 2)
  const [first, second] = looks as [(typeof looks)[0], (typeof looks)[0]]
  const rest = second.from - first.to
  t.ok(rest >= (first.to - first.from) * 0.9, `a rest of ${Math.round(rest)} ms`)
})

test('pace - an op is confirmed, and its acknowledgements are no news of the view', async (t) => {
  const { nodes } = await createMesh(2, t)
  for (const node of nodes) await untilState(node, (state) => state.nodes.size === 2)
  const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0]]
  await b.mesh.append([{ type: 'application.set', name: 'shop', over: null, at: 0 }])
  await untilState(a, (state) => state.applications.has('shop'))
  const { state } = a.mesh
  const { length } = a.mesh.oplog.system ?? { length: 0 }
  let views = 0
  a.mesh.on('view', () => views++)
  await waitUntil(() => {
    const { tentative, confirmed } = a.mesh.oplog.lengths()
    return tentative === confirmed && (a.mesh.oplog.system?.length ?? 0) > length
  }, 20_000)
  t.is(views, 0)
  t.is(a.mesh.state, state)
  t.is(await a.mesh.oplog.read(), await a.mesh.oplog.read(), 'read again it is the same')
})
