import test from 'brittle'
import { slotKey } from '../../../core/state/state.ts'
import { report, runsHealthily } from '../../../roles/agent/report.ts'
import { check, world } from './worlds.ts'

test('report - every world has one, a status a slot, and a yes only for what runs as placed', (t) => {
  check(world({ steps: true }), (w) => {
    const { containers } = report(w, new Map(), 7)
    const keys = containers.map((c) => slotKey(c))
    if (new Set(keys).size !== keys.length) return 'two of a slot'
    for (const c of w.containers) {
      const hidden = !keys.includes(slotKey(c))
      if (c.state === 'running' && hidden) return 'a running container is not told'
    }
    for (const [key, placement] of w.view.placements) {
      if (!runsHealthily(w, key, placement.op)) continue
      if (w.memory.slots.get(key)?.step) return 'a yes in the middle of a step'
      const status = containers.find((c) => slotKey(c) === key)
      if (status?.state !== 'running' || status.placement !== placement.op) return 'a yes too much'
      if (status.revision !== placement.revision) return 'a yes for another revision'
      const spec = w.view.microservices.get(`demo/${placement.microservice}`)?.spec
      if (spec?.healthcheck && status.healthy !== true) return 'a yes before it is healthy'
    }
    return null
  })
  t.pass()
})

test('report - since changes with the state only', (t) => {
  check(world({ steps: true }), (w) => {
    const first = report(w, new Map(), 7)
    const again = report(w, new Map(first.containers.map((s) => [slotKey(s), s])), 9)
    return JSON.stringify(first) === JSON.stringify(again) ? null : 'news without a change'
  })
  t.pass()
})
