/** What a deploy would change, without changing anything. */
import {
  revisionOf,
  withRestarts,
  type MicroserviceSpec
} from '../../../core/state/microservices.ts'
import { startsFirst, updateOf } from '../../../core/state/policies.ts'
import type { MicroserviceRecord, State } from '../../../core/state/state.ts'
import type { Plan } from '../../../roles/controller/place.ts'
import type { PlanRequest, PlanResult } from '../../api.ts'
import { checkedApplication } from '../asked.ts'
import { changeLine, differences } from '../changes.ts'
import type { Daemon } from '../daemon.ts'
import { mustBeFree } from '../exposed.ts'
import type { Route } from '../socket.ts'
import { nodeName } from '../world.ts'

export const planRoutes = (daemon: Daemon): Route[] => [
  {
    method: 'POST',
    path: '/plan',
    async handle(request): Promise<PlanResult> {
      const { mesh, node } = daemon.member()
      const asked = checkedApplication(await request.json<PlanRequest>())
      const { state } = mesh
      const wanted = asked.microservices.map(({ name, spec, files }) => {
        const old = state.microservices.get(`${asked.application}/${name}`) ?? null
        return { name, old, spec: specOf(spec, files, old) }
      })
      mustBeFree(state, asked.application, wanted)
      const then = after(state, asked.application, wanted)
      // A deploy sends its files before it changes anything.
      const sent = wanted.flatMap(({ spec }) => spec.files?.digest ?? [])
      const plan = node.planFor(then, sent)
      const halves = (name: string): number | null =>
        node.halvesFor(then, `${asked.application}/${name}`)
      const gone = [...state.microservices.values()].filter(
        (m) => m.application === asked.application && !wanted.some(({ name }) => name === m.name)
      )
      return {
        application: asked.application,
        microservices: [
          ...wanted.map((one) => ({
            ...described(one, asked.application, { state, then, plan }),
            halves: halves(one.name)
          })),
          ...gone.map(({ name }) => ({ ...NOTHING, name, change: 'removed' as const }))
        ]
      }
    }
  }
]

type PlannedJson = PlanResult['microservices'][number]
type Described = Omit<PlannedJson, 'halves'>
const NOTHING: Omit<PlannedJson, 'name' | 'change'> = {
  ...{ line: '', rollout: null },
  ...{ placements: [], waiting: [], halves: null }
}

interface Wanted {
  name: string
  old: MicroserviceRecord | null
  spec: MicroserviceSpec
}

function described(
  { name, old, spec }: Wanted,
  application: string,
  { state, then, plan }: { state: State; then: State; plan: Plan }
): Described {
  const isMine = (slot: { application: string; microservice: string }): boolean =>
    slot.application === application && slot.microservice === name
  const bytes = 0
  const isSame = old !== null && differences(old.spec, spec).length === 0
  const before = old === null ? null : { value: old.spec, bytes }
  const isRolledOut =
    old !== null && old.revision !== then.microservices.get(`${application}/${name}`)?.revision
  return {
    name,
    change: old === null ? 'created' : isSame ? 'unchanged' : 'updated',
    line: isSame ? '' : changeLine(before, { value: spec, bytes }),
    rollout: isRolledOut ? inWords(spec, state.format) : null,
    placements: plan.set
      .filter((set) => isMine(set))
      // A new revision where the slot is says nothing new.
      .filter((s) => state.placements.get(`${application}/${name}/${s.slot}`)?.node !== s.node)
      .map(({ slot, node, reason }) => ({ slot, node: nodeName(state, node), reason })),
    waiting: plan.waiting
      .filter((slot) => isMine(slot))
      .map(({ slot, reason }) => ({ slot, reason }))
  }
}

/** `1 at a time, the new one first, watched for 10 s; back again where it fails`. */
function inWords(spec: MicroserviceSpec, format: number): string {
  if (format < 2) return 'everywhere at once: the mesh still uses format 1 (brume upgrade)'
  const { parallelism, delayMs, monitorMs, failureAction, canary } = updateOf(spec)
  const how = [
    parallelism === 0 ? 'all at once' : `${parallelism} at a time`,
    ...(delayMs > 0 ? [`${delayMs / 1000} s apart`] : []),
    startsFirst(spec) ? 'the new one first' : 'the old one ends first',
    `watched for ${monitorMs / 1000} s`,
    ...(canary > 0 ? [`${canary} before the others`] : [])
  ]
  const then = { rollback: 'back again', pause: 'paused', continue: 'on all the same' }
  return `${how.join(', ')}; ${then[failureAction]} where it fails`
}

/** The view as it would be, but for rollouts: where things end is the question. */
function after(state: State, application: string, wanted: Wanted[]): State {
  const microservices = new Map(
    [...state.microservices].filter(([, m]) => m.application !== application)
  )
  for (const { name, old, spec } of wanted) {
    const written = { op: old?.op ?? '', by: old?.by ?? '', at: old?.at ?? 0 }
    const revision = revisionOf(spec, state.format)
    microservices.set(`${application}/${name}`, { application, name, spec, revision, ...written })
  }
  return { ...state, microservices, rollouts: new Map() }
}

function specOf(
  spec: MicroserviceSpec,
  files: PlanRequest['microservices'][number]['files'],
  old: MicroserviceRecord | null
): MicroserviceSpec {
  const bundle = files && { ...files, core: '0'.repeat(64), ...NOWHERE }
  return withRestarts({ ...spec, files: bundle }, old?.spec)
}

const NOWHERE = { blockOffset: 0, blockLength: 0, byteOffset: 0 }
