/** Ops in one order for all, and the view that apply makes of every such order. */
import type { Op } from '../../../core/state/index.ts'
import { FORMAT } from '../../../core/state/mesh.ts'
import type { OpId } from '../../../core/state/records.ts'
import type { State } from '../../../core/state/state.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order, type Order } from '../../helpers/memory-view.ts'

export interface Entry {
  id: OpId
  op: Op
  author: Member
  /** Later than that of all ops its author had seen. */
  time: number
}

/** In the order of their ids, which is that in which equals are chosen. */
const COMPANY = members('small', 'ash', 'elm', 'fir', 'oak')
const [FOUNDER] = COMPANY as [Member]
export const MEMBERS = [...COMPANY].sort((a, b) => (a.id < b.id ? -1 : 1))

/**
 * What is concurrent is ordered by who wrote it; `last` says whose come last, so that of two sides that placed one
 * slot either may have the last word.
 */
export function ordered(entries: Iterable<Entry>, last: 'first' | 'last'): Entry[] {
  const sign = last === 'last' ? 1 : -1
  const rank = ({ author }: Entry): number => sign * MEMBERS.indexOf(author)
  const number = ({ id }: Entry): number => Number(id.slice(id.indexOf('.') + 1))
  return [...entries].sort((a, b) => a.time - b.time || rank(a) - rank(b) || number(a) - number(b))
}

interface Step {
  order: Order
  /** Read where somebody looks. */
  state: Promise<State> | null
  next: Map<OpId, Promise<Step>>
}

export class Views {
  /** Ops that apply refused, as sentences. */
  readonly refused: string[] = []
  readonly #root: Promise<Step>

  constructor() {
    this.#root = begun().then(stepOf)
  }

  async at(entries: readonly Entry[]): Promise<State> {
    let step = await this.#root
    for (const entry of entries) {
      let next = step.next.get(entry.id)
      if (next === undefined) {
        next = this.#after(step, entry)
        step.next.set(entry.id, next)
      }
      step = await next
    }
    step.state ??= stateOf(step.order)
    return step.state
  }

  async #after(step: Step, { id, op, author }: Entry): Promise<Step> {
    const copy = copyOf(step.order)
    const refusal = await copy.apply(author.writer, op, id)
    if (refusal !== null) this.refused.push(`${id} ${op.type}: ${refusal}`)
    return stepOf(copy)
  }
}

const stepOf = (order: Order): Step => ({ order, state: null, next: new Map() })

const stateOf = async ({ view }: Order): Promise<State> => ({
  ...(await view.state()),
  indexers: [FOUNDER.id]
})

function copyOf(from: Order): Order {
  const copy = order(FOUNDER.writer)
  for (const [key, text] of from.view.entries) copy.view.entries.set(key, text)
  copy.confirming.splice(0, copy.confirming.length, ...from.confirming)
  return copy
}

let company: Promise<Order> | null = null

/** All are in, and there is an application. */
function begun(): Promise<Order> {
  company ??= makeCompany()
  return company
}

async function makeCompany(): Promise<Order> {
  const made = order(FOUNDER.writer)
  const at = 1
  const ops: Op[] = [
    { type: 'mesh.init', defaultRole: 'admin', admission: FOUNDER.paper, format: FORMAT, at },
    ...COMPANY.slice(1).map(({ paper }): Op => ({ type: 'node.admit', admission: paper, at })),
    { type: 'application.set', name: 'app', over: null, at }
  ]
  for (const op of ops) {
    const refusal = await made.apply(FOUNDER.writer, op)
    if (refusal !== null) throw new Error(`${op.type}: ${refusal}`)
  }
  return made
}
