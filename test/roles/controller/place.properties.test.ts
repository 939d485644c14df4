/** What holds in every world, tidy or not. A failure prints the seed and the smallest world. */
import test from 'brittle'
import fc from 'fast-check'
import type { ContainerStatus } from '../../../core/gossip-records.ts'
import { slotKey, type MicroserviceRecord, type State } from '../../../core/state/state.ts'
import { fixedPorts } from '../../../roles/controller/constraints.ts'
import { place, SETTLE_MS, type PlaceInput, type Plan } from '../../../roles/controller/place.ts'
import { breach, crowding, hindrance, lacking, placedOn, tiedTo } from '../../sim/fits.ts'
import {
  carriedOut,
  container,
  facts,
  FOR_ARM,
  IMAGE,
  microservice,
  node,
  shuffled,
  world,
  worlds
} from '../../sim/worlds.ts'

const RUNS = { numRuns: Number(process.env.BRUME_PROPERTY_RUNS ?? 1500) }
const holds = (claim: (input: PlaceInput) => boolean): void =>
  fc.assert(fc.property(worlds, claim), RUNS)

/** Of settled worlds; fails with the sentence that `property` gives. */
const shows = (property: (input: PlaceInput) => string | null): void =>
  fc.assert(
    fc.property(worlds, (input) => {
      const broken = property({ ...input, settledMs: SETTLE_MS })
      if (broken !== null) throw new Error(broken)
    }),
    RUNS
  )

test('place - gives one plan for one world, whatever the order of its parts', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(worlds, fc.integer({ min: 1 }), (input, seed) => {
        return JSON.stringify(place(input)) === JSON.stringify(place(shuffled(input, seed)))
      }),
      RUNS
    )
  )
})

test('place - a plan carried out leaves nothing to do', (t) => {
  t.execution(() =>
    holds((input) => {
      const next = place(carriedOut(input, place(input)))
      return next.set.length === 0 && next.rm.length === 0
    })
  )
})

/**
 * Of every slot that stays somebody wishes that it be where it is: nothing follows from that, but that the
 * shortcut for what is at rest is not taken.
 */
const lookedAtTwice = (input: PlaceInput, { set, rm }: Plan): PlaceInput => {
  const moves = new Map(input.state.moves)
  const changed = new Set([...set, ...rm].map(slotKey))
  for (const [key, { application, microservice, slot, node }] of input.state.placements) {
    if (changed.has(key)) continue
    const wish = { application, microservice, slot, node, op: 'a.3', by: 'a', at: 0 }
    if (!moves.has(key)) moves.set(key, wish)
  }
  return { ...input, state: { ...input.state, moves } }
}

/** All runs where it belongs, but for what befell one slot and its node. */
const nearlyAtRest = fc
  .tuple(
    worlds,
    fc.nat(),
    fc.nat(),
    fc.constantFrom('nothing', 'drained', 'removed', 'strayed', 'back')
  )
  .map(([input, which, where, what]) => {
    const after = carriedOut(input, place(input)).state
    const state = { ...after, nodes: new Map(after.nodes) }
    const runs = new Map([...state.nodes.keys()].map((id) => [id, [] as ContainerStatus[]]))
    for (const p of state.placements.values()) {
      runs.get(p.node)?.push(container(p.microservice, p.slot, { revision: p.revision }))
    }
    const placed = [...state.placements.values()].at(which % Math.max(1, state.placements.size))
    const other = [...state.nodes.keys()].at(where % state.nodes.size) ?? ''
    if (placed !== undefined && what !== 'nothing') {
      const copy = container(placed.microservice, placed.slot, { revision: placed.revision })
      const here = runs.get(placed.node) ?? []
      const node = state.nodes.get(placed.node)
      if (what === 'drained' && node !== undefined) {
        const availability = { mode: 'draining' as const, reason: '', deadlineMs: null }
        state.nodes.set(node.id, { ...node, availability })
      } else if (what === 'removed' && node !== undefined) {
        state.nodes.set(node.id, { ...node, state: 'removed' })
      } else if (what === 'strayed') {
        const rest = here.filter((c) => slotKey(c) !== slotKey(placed))
        runs.set(placed.node, rest).get(other)?.push(copy)
      } else if (what === 'back' && other !== placed.node) {
        runs.get(other)?.push(copy)
        const moved = { from: other, why: 'silent' as const }
        state.placements.set(slotKey(placed), { ...placed, moved })
      }
    }
    const status = new Map(
      [...runs].map(([id, containers]) => [id, { containers, failing: [] as string[] }])
    )
    return { ...input, state, status }
  })

test('place - what is at rest is not looked at, and it makes no difference', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(nearlyAtRest, fc.constantFrom(0, SETTLE_MS, SETTLE_MS), (input, ms) => {
        const now = { ...input, settledMs: ms }
        const short = place(now)
        const long = place(lookedAtTwice(now, short))
        if (JSON.stringify(short) === JSON.stringify(long)) return
        throw new Error(`${JSON.stringify(short)} is not ${JSON.stringify(long)}`)
      }),
      RUNS
    )
  )
})

test('place - every slot asked for is placed or waits with a reason', (t) => {
  t.execution(() =>
    holds((input) => {
      const plan = place(input)
      const { placements } = carriedOut(input, plan).state
      const waits = new Set(plan.waiting.filter((w) => w.reason !== '').map(slotKey))
      return [...slotsAsked(input.state)].every((key) => placements.has(key) || waits.has(key))
    })
  )
})

test('place - a slot waits once, and every line has a reason', (t) => {
  t.execution(() =>
    holds((input) => {
      const plan = place(input)
      const lines = [...plan.set, ...plan.rm, ...plan.waiting]
      const keys = plan.waiting.map(slotKey)
      return lines.every((l) => l.reason !== '') && new Set(keys).size === keys.length
    })
  )
})

test('place - no two replicas with one fixed port share a node', (t) => {
  t.execution(() =>
    holds((input) => {
      const settled = { ...input, settledMs: SETTLE_MS }
      const { state } = carriedOut(settled, place(settled))
      const taken = new Set<string>()
      for (const p of state.placements.values()) {
        const m = state.microservices.get(`${p.application}/${p.microservice}`)
        for (const port of m ? fixedPorts(m) : []) {
          const key = `${p.node} ${port}`
          if (taken.has(key)) return false
          taken.add(key)
        }
      }
      return true
    })
  )
})

test('place - what is placed breaks no constraint', (t) => {
  t.execution(() =>
    shows((input) => {
      const after = carriedOut(input, place(input))
      for (const p of after.state.placements.values()) {
        const record = recordOf(after.state, p)
        const why = breach(after, p.node, record)
        if (why !== null) return `${slotKey(p)} on ${p.node}: ${why}`
        if (record.spec.stopped === true) return `${slotKey(p)} is stopped`
      }
      return null
    })
  )
})

test('place - what comes to a node finds room there', (t) => {
  t.execution(() =>
    shows((input) => {
      const plan = place(input)
      const after = carriedOut(input, plan)
      for (const set of plan.set) {
        const why = crowding(after, set.node, recordOf(after.state, set), 0)
        if (why !== null) return `${slotKey(set)} on ${set.node}: ${why}`
      }
      return null
    })
  )
})

test('place - what comes to a node, or anew, finds there what it is made of, unless it runs there', (t) => {
  let checked = 0
  t.execution(() =>
    shows((input) => {
      for (const set of place(input).set) {
        const { spec } = recordOf(input.state, set)
        if (spec.pull === 'never' || spec.files !== null) checked++
        const why = lacking(input, set.node, recordOf(input.state, set))
        if (why === null) continue
        const isBehind = input.state.placements.get(slotKey(set))?.node === set.node
        if (isBehind && !input.alive.has(set.node)) continue
        const runs = input.status
          .get(set.node)
          ?.containers.some(
            (c) =>
              slotKey(c) === slotKey(set) &&
              c.revision === set.revision &&
              ['running', 'retiring'].includes(c.state)
          )
        if (runs !== true && spec.replicas !== 'all')
          return `${slotKey(set)} on ${set.node}: ${why}`
      }
      return null
    })
  )
  t.ok(checked > 200, `${checked} were checked`)
})

test('place - what runs stays, whatever becomes of its image and its files', (t) => {
  let kept = 0
  t.execution(() =>
    shows((input) => {
      const { state } = carriedOut(input, place(input))
      const status = new Map(
        [...state.nodes.keys()].map((id) => [
          id,
          {
            containers: placedOn({ ...input, state }, id).map((p) =>
              container(p.microservice, p.slot, { revision: p.revision })
            ),
            failing: [] as string[]
          }
        ])
      )
      const atRest = { ...input, state, status }
      const facts = new Map(
        [...input.facts].map(([id, was]) => {
          const images = { [IMAGE]: false, [FOR_ARM]: false }
          return [id, was.images === undefined ? was : { ...was, images }]
        })
      )
      const before = place(atRest)
      const after = place({ ...atRest, facts, holds: new Map() })
      kept += state.placements.size
      const changed = after.set.filter(
        (set) => !before.set.some((one) => slotKey(one) === slotKey(set))
      )
      const gone = after.rm.length - before.rm.length
      return changed.length === 0 && gone <= 0 ? null : JSON.stringify([changed, after.rm])
    })
  )
  t.ok(kept > 1000, `${kept} stayed`)
})

test('place - nothing waits for a place while there is one', (t) => {
  let waited = 0
  t.execution(() =>
    shows((input) => {
      const after = carriedOut(input, place(input))
      for (const key of slotsAsked(after.state)) {
        if (after.state.placements.has(key)) continue
        waited++
        const [application = '', microservice = ''] = key.split('/')
        const record = recordOf(after.state, { application, microservice })
        const tied = tiedTo(after, key)
        for (const id of after.state.nodes.keys()) {
          if (tied !== null && tied !== id) continue
          if (breach(after, id, record) !== null || hindrance(after, id, record) !== null) continue
          return `${key} waits, and ${id} is free`
        }
      }
      return null
    })
  )
  t.ok(waited > 100, `${waited} waited`)
})

test('place - replicas: all leaves no node out that can run one', (t) => {
  t.execution(() =>
    shows((input) => {
      const after = carriedOut(input, place(input))
      for (const record of after.state.microservices.values()) {
        const { spec, application, name } = record
        if (spec.replicas !== 'all' || spec.stopped === true) continue
        for (const id of after.state.nodes.keys()) {
          const isThere = placedOn(after, id).some(
            (p) => p.application === application && p.microservice === name
          )
          if (isThere || breach(after, id, record) !== null) continue
          if (hindrance(after, id, record) === null) return `${name} is missing on ${id}`
        }
      }
      return null
    })
  )
})

test('place - what has volumes comes up where they are and nowhere else, unless somebody asked', (t) => {
  let tied = 0
  t.execution(() =>
    shows((input) => {
      for (const set of place(input).set) {
        const key = slotKey(set)
        const to = tiedTo(input, key)
        if (to !== null) tied++
        if (to === null || to === set.node || input.state.moves.get(key)?.node === set.node)
          continue
        const old = input.state.placements.get(key)
        // It was elsewhere before it had volumes.
        if (old !== undefined && old.node !== to && old.node === set.node) continue
        return `${key} is tied to ${to} and comes to ${set.node}`
      }
      return null
    })
  )
  t.ok(tied > 25, `${tied} were tied`)
})

test('place - no more slots than asked for', (t) => {
  t.execution(() =>
    shows((input) => {
      const { state } = carriedOut(input, place(input))
      for (const { application, name, spec } of state.microservices.values()) {
        const all = [...state.placements.values()].filter(
          (p) => p.application === application && p.microservice === name
        )
        if (spec.replicas !== 'all' && all.length > spec.replicas) return `${all.length} of ${name}`
      }
      return null
    })
  )
})

test('place - what is pinned is on its node or nowhere', (t) => {
  t.execution(() =>
    holds((input) => {
      const settled = { ...input, settledMs: SETTLE_MS }
      const { state } = carriedOut(settled, place(settled))
      return [...state.placements.values()].every((p) => {
        const pin = state.microservices.get(`${p.application}/${p.microservice}`)?.spec.node
        return pin === null || state.nodes.get(p.node)?.displayName === pin
      })
    })
  )
})

test('place - nothing new lands on a node that is silent, not a member or not known yet', (t) => {
  t.execution(() =>
    holds((input) =>
      place(input).set.every((set) => {
        const old = input.state.placements.get(slotKey(set))
        const all = replicasOf(input.state, set) === 'all'
        if (old?.node === set.node) return true
        const member = input.state.nodes.get(set.node)?.state === 'member'
        const known = input.facts.get(set.node)?.engine
        const ready = known !== undefined && known.kind !== 'none' && known.problem === null
        return member && ready && (all || input.alive.has(set.node))
      })
    )
  )
})

test('place - nothing placed moves before the mesh has settled', (t) => {
  t.execution(() =>
    holds((input) => {
      const plan = place({ ...input, settledMs: SETTLE_MS - 1 })
      const moved = plan.set.filter((set) => {
        const old = input.state.placements.get(slotKey(set))
        return old !== undefined && old.node !== set.node
      })
      return moved.length === 0 && plan.rm.length === 0
    })
  )
})

test('place - where it names no time to look again, time changes nothing', (t) => {
  t.execution(() =>
    holds((input) => {
      const plan = place(input)
      if (plan.againInMs !== null) return true
      const later = place(passed(carriedOut(input, plan), 600_000))
      return later.set.length === 0 && later.rm.length === 0
    })
  )
})

test('place - looking again at the time it says is enough', (t) => {
  t.execution(() =>
    holds((input) => {
      let at = input
      for (let i = 0; i < 8; i++) {
        const plan = place(at)
        if (plan.againInMs === null) return true
        at = passed(carriedOut(at, plan), plan.againInMs)
      }
      return false
    })
  )
})

test('place - replicas: all has one slot on each node that fits and none twice', (t) => {
  t.execution(() =>
    holds((input) => {
      const settled = { ...input, settledMs: SETTLE_MS }
      const { state } = carriedOut(settled, place(settled))
      const seen = new Set<string>()
      for (const p of state.placements.values()) {
        if (replicasOf(state, p) !== 'all') continue
        const key = `${p.microservice} ${p.node}`
        if (seen.has(key)) return false
        seen.add(key)
      }
      return true
    })
  )
})

test('place - new replicas without wishes spread within one of even', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 0, max: 40 }),
        fc.array(fc.constantFrom('x', 'y'), { minLength: 12, maxLength: 12 }),
        (nodes, replicas, zones) => {
          const ids = Array.from({ length: nodes }, (_, i) => `n${i}`)
          const input = world({
            nodes: ids.map((id, i) => node(id, { labels: { zone: zones[i] ?? 'x' } })),
            microservices: [
              microservice('api', { replicas: 3 }),
              microservice('web', { replicas })
            ],
            facts: Object.fromEntries(ids.map((id) => [id, facts()]))
          })
          const counts = new Map(ids.map((id) => [id, 0]))
          for (const set of place(input).set) {
            if (set.microservice === 'web') counts.set(set.node, (counts.get(set.node) ?? 0) + 1)
          }
          const all = [...counts.values()]
          const sum = all.reduce((a, b) => a + b, 0)
          return sum === replicas && Math.max(...all) - Math.min(...all) <= 1
        }
      ),
      RUNS
    )
  )
})

function slotsAsked(state: State): Set<string> {
  const keys = new Set<string>()
  for (const { application, name, spec } of state.microservices.values()) {
    if (spec.replicas === 'all' || spec.stopped === true) continue
    for (let slot = 0; slot < spec.replicas; slot++) {
      keys.add(slotKey({ application, microservice: name, slot }))
    }
  }
  return keys
}

function recordOf(
  { microservices }: State,
  { application, microservice }: { application: string; microservice: string }
): MicroserviceRecord {
  const record = microservices.get(`${application}/${microservice}`)
  if (record === undefined) throw new Error(`nobody asks for ${microservice}`)
  return record
}

const replicasOf = (state: State, p: { application: string; microservice: string }) =>
  state.microservices.get(`${p.application}/${p.microservice}`)?.spec.replicas

function passed(input: PlaceInput, ms: number): PlaceInput {
  const silentMs = new Map([...input.silentMs].map(([id, silent]) => [id, silent + ms]))
  return { ...input, silentMs, settledMs: input.settledMs + ms }
}
