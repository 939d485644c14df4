/**
 * The Controller: leads its connected part of the mesh when it is this node's turn, and then keeps
 * placements in line with what is asked for and what is alive.
 *
 *   listening → following ⇄ claiming
 *                    ⇅         ↓
 *                    leading ←─┘      planning → appending → watching → …
 *
 * News only say that something changed: gathered for a moment, they lead to one look at the world
 * (`judge`), and every state acts on the verdict. What is decided, and why, is in `election.ts` and
 * `place.ts`; what it does to the mesh, in the components.
 */
import {
  assign,
  enqueueActions,
  fromPromise,
  raise,
  sendParent,
  setup,
  type ActorRefFrom
} from 'xstate'
import { delayMs } from '../../core/backoff.ts'
import { slotKey, type State } from '../../core/state/state.ts'
import { elect, type ElectInput, type Verdict } from './election.ts'
import { chooseIndexers, type IndexerChange, type IndexersInput } from './indexers.ts'
import { place, type PlaceInput, type Plan, type SlotReason } from './place.ts'
import { seeSlots, type SlotSight } from './rollout.ts'

/** What the Controller needs from the rest of the daemon. Implemented in `roles/node/` and in tests. */
export interface ControllerComponents {
  /** The world as it is now. Every call may give another one; nothing it gave is changed later. */
  readWorld(): ControllerWorld
  /** Appends the plan's changes as one batch; resolves once they are in the oplog. */
  appendPlan(plan: LeaderPlan, term: number): Promise<void>
  /** Appends `lease.claim`; resolves once it is in the oplog, which does not say that it won. */
  claimLease(term: number): Promise<void>
  /** What waits for a place, and why; empty while this node does not lead. Called on change only. */
  reportPlan(waiting: SlotReason[]): void
  /** An append that was refused, and when it is tried again. */
  reportFailure(error: unknown, retryInMs: number): void
  /** Boot ms: it goes on while the machine sleeps. */
  now(): number
  /** In [0, 1). */
  random(): number
}

export type ControllerWorld = ElectInput & Omit<PlaceInput, keyof Ages> & IndexersInput

/** What a leader knows by having looked before. */
type Ages = Pick<PlaceInput, 'sinceMs'>

/** Of placements, and of who confirms the order. */
export interface LeaderPlan extends Plan {
  indexer: IndexerChange | null
}

export interface ControllerSettings {
  /** After a start or a gap: how long to listen before judging anything. */
  listenMs: number
  /** News are gathered for so long. */
  gatherMs: number
  /** Its own tick, and how late one must be to count as a gap. */
  tickMs: number
  gapMs: number
  /** A refused append is tried again after the first, then twice as long, up to the cap. */
  retryMs: number
  retryCapMs: number
}

export const CONTROLLER_SETTINGS: ControllerSettings = {
  listenMs: 2000,
  gatherMs: 5,
  tickMs: 1000,
  gapMs: 2000,
  retryMs: 200,
  retryCapMs: 10_000
}

export type ControllerEvent =
  | { type: 'view.changed'; state: State }
  | { type: 'gossip.changed' }
  | { type: 'peers.changed' }
  /** Its own: this process or machine stood still, so nobody's silence means anything. */
  | { type: 'gap.noticed' }
  /** Its own: time to look at the world. */
  | { type: 'news.gathered' }
  /** Its own: there is a verdict. */
  | { type: 'world.judged' }

export interface ControllerContext {
  /** News came and `news.gathered` is on its way. */
  gathering: boolean
  verdict: Verdict | null
  plan: LeaderPlan
  /** Since when, boot ms, each slot is as this leader sees it; by key. */
  slots: ReadonlyMap<string, SlotSight>
  /** The plan appended last, until the view shows it; not again before `untilMs` (boot). */
  appended: { changes: string; untilMs: number } | null
  /** The term being claimed, and the one claimed last. */
  claiming: number | null
  claimed: number | null
  /** Appends in a row that were refused or came to nothing, and how long to wait after them. */
  attempts: number
  retryInMs: number
  reported: string
}

export type ControllerMachine = ReturnType<typeof createController>
export type ControllerActor = ActorRefFrom<ControllerMachine>

/** The machine to spawn. Its top states: listening, following, claiming, leading. */
export function createController(
  components: ControllerComponents,
  settings: ControllerSettings = CONTROLLER_SETTINGS
) {
  return controllerSetup(components, settings).createMachine({
    id: 'controller',
    context: {
      gathering: false,
      verdict: null,
      plan: NO_PLAN,
      slots: new Map(),
      appended: null,
      claiming: null,
      claimed: null,
      attempts: 0,
      retryInMs: 0,
      reported: '[]'
    },
    invoke: { src: 'tick' },
    on: {
      'view.changed': { actions: 'gather' },
      'gossip.changed': { actions: 'gather' },
      'peers.changed': { actions: 'gather' },
      'news.gathered': { actions: ['judge', 'sayJudged'] },
      'gap.noticed': { target: '.listening' }
    },
    initial: 'listening',
    states: {
      /** Until what others say had time to arrive, nothing is judged. */
      listening: {
        on: { 'news.gathered': { actions: 'putOff' } },
        after: { listen: { target: 'following', actions: 'sayGathered' } }
      },

      following: {
        on: {
          'world.judged': [
            { guard: 'mustLead', target: 'leading' },
            { guard: 'mustClaim', target: 'claiming' }
          ]
        }
      },

      claiming: {
        on: {
          'world.judged': [
            { guard: 'mustLead', target: 'leading' },
            { guard: 'mustFollow', target: 'following' }
          ]
        },
        initial: 'choosing',
        states: {
          choosing: { always: [{ guard: 'hasClaimed', target: 'waiting' }, { target: 'asking' }] },
          asking: {
            entry: 'noteClaiming',
            invoke: {
              src: 'claimLease',
              input: ({ context }) => context.claiming ?? 0,
              onDone: { target: 'choosing', actions: ['noteClaimed', 'noteCalm'] },
              onError: {
                target: 'backingOff',
                actions: [
                  'noteAttempt',
                  { type: 'tellFailure', params: ({ event }) => ({ error: event.error }) }
                ]
              }
            }
          },
          backingOff: { after: { retry: 'choosing' } },
          /** The claim is in the oplog; the view says who won, maybe only after a merge. */
          waiting: { on: { 'world.judged': { guard: 'mustClaimAgain', target: 'choosing' } } }
        }
      },

      leading: {
        on: {
          'world.judged': [
            { guard: 'mustClaim', target: 'claiming' },
            { guard: 'mustFollow', target: 'following' }
          ]
        },
        exit: ['forgetPlan', 'tellWaiting', 'noteTold'],
        initial: 'planning',
        states: {
          planning: {
            entry: ['plan', 'tellWaiting', 'noteTold'],
            always: [
              { guard: 'changesNothing', target: 'watching', actions: 'noteCalm' },
              { guard: 'wasJustAppended', target: 'awaitingView' },
              { target: 'appending' }
            ]
          },
          appending: {
            invoke: {
              src: 'appendPlan',
              input: ({ context }) => ({ plan: context.plan, term: context.verdict?.term ?? 0 }),
              onDone: { target: 'planning', actions: ['noteAttempt', 'noteAppended'] },
              onError: {
                target: 'backingOff',
                actions: [
                  'noteAttempt',
                  { type: 'tellFailure', params: ({ event }) => ({ error: event.error }) }
                ]
              }
            }
          },
          backingOff: { after: { retry: 'planning' } },
          /** The view does not show the plan yet. Should it never do so, the plan is appended again. */
          awaitingView: {
            on: { 'world.judged': { guard: 'mustLead', target: 'planning' } },
            after: { viewIsLate: 'planning' }
          },
          watching: {
            on: { 'world.judged': { guard: 'mustLead', target: 'planning' } },
            after: { again: { guard: 'timeMayChangeIt', actions: 'sayGathered' } }
          }
        }
      }
    }
  })
}

/** What the page above names. */
function controllerSetup(components: ControllerComponents, settings: ControllerSettings) {
  const retry = { firstMs: settings.retryMs, capMs: settings.retryCapMs }
  return setup({
    types: { context: {} as ControllerContext, events: {} as ControllerEvent },
    actors: {
      tick: createTick(components, settings),
      claimLease: fromPromise<void, number>(({ input }) => components.claimLease(input)),
      appendPlan: fromPromise<void, { plan: LeaderPlan; term: number }>(({ input }) =>
        components.appendPlan(input.plan, input.term)
      )
    },
    guards: {
      mustLead: ({ context }) => context.verdict?.act === 'lead',
      mustClaim: ({ context }) => context.verdict?.act === 'claim',
      mustFollow: ({ context }) =>
        context.verdict?.act === 'follow' || context.verdict?.act === 'wait',
      hasClaimed: ({ context }) => context.claimed === context.verdict?.term,
      mustClaimAgain: ({ context }) =>
        context.verdict?.act === 'claim' && context.claimed !== context.verdict.term,
      changesNothing: ({ context: { plan } }) =>
        plan.set.length + plan.rm.length + plan.ends.length === 0 && plan.indexer === null,
      wasJustAppended: ({ context: { plan, appended } }) =>
        appended?.changes === changesOf(plan) && components.now() < appended.untilMs,
      timeMayChangeIt: ({ context }) => context.plan.againInMs !== null
    },
    delays: {
      listen: settings.listenMs,
      retry: ({ context }) => context.retryInMs,
      viewIsLate: ({ context }) => Math.max(1, (context.appended?.untilMs ?? 0) - components.now()),
      again: ({ context }) => context.plan.againInMs ?? 0
    },
    actions: {
      gather: enqueueActions(({ context, enqueue }) => {
        if (context.gathering) return
        enqueue.assign({ gathering: true })
        enqueue.raise({ type: 'news.gathered' }, { delay: settings.gatherMs })
      }),
      putOff: assign({ gathering: false }),
      sayGathered: raise({ type: 'news.gathered' }),
      judge: assign({ gathering: false, verdict: () => elect(components.readWorld()) }),
      sayJudged: raise({ type: 'world.judged' }),
      noteClaiming: assign({ claiming: ({ context }) => context.verdict?.term ?? null }),
      noteClaimed: assign({ claimed: ({ context }) => context.claiming }),
      plan: assign(({ context }) => {
        const world = components.readWorld()
        const now = components.now()
        const slots = seeSlots(world, context.slots, now)
        const sinceMs = new Map([...slots].map(([key, { at }]) => [key, now - at]))
        return { slots, plan: planFor({ ...world, sinceMs }) }
      }),
      forgetPlan: assign({ plan: NO_PLAN, appended: null, slots: new Map() }),
      noteAppended: assign({
        appended: ({ context: { plan, retryInMs } }) => ({
          changes: changesOf(plan),
          untilMs: components.now() + retryInMs
        })
      }),
      noteAttempt: assign(({ context }) => ({
        attempts: context.attempts + 1,
        retryInMs: delayMs(context.attempts, retry, components.random())
      })),
      noteCalm: assign({ attempts: 0, appended: null }),
      tellFailure: ({ context }, { error }: { error: unknown }) =>
        components.reportFailure(error, context.retryInMs),
      tellWaiting: ({ context: { plan, reported } }) => {
        if (JSON.stringify(plan.waiting) !== reported) components.reportPlan(plan.waiting)
      },
      noteTold: assign({ reported: ({ context }) => JSON.stringify(context.plan.waiting) })
    }
  })
}

/** Ticks, and says so when a tick came so late that this process or machine must have stood still. */
function createTick(components: ControllerComponents, { tickMs, gapMs }: ControllerSettings) {
  return setup({
    types: { context: {} as { lastMs: number } },
    guards: { isLate: ({ context }) => components.now() - context.lastMs > tickMs + gapMs },
    actions: { sayGap: sendParent({ type: 'gap.noticed' }) },
    delays: { tick: tickMs }
  }).createMachine({
    id: 'tick',
    context: { lastMs: 0 },
    initial: 'ticking',
    states: {
      ticking: {
        entry: assign({ lastMs: () => components.now() }),
        after: {
          tick: [
            { guard: 'isLate', target: 'ticking', reenter: true, actions: 'sayGap' },
            { target: 'ticking', reenter: true }
          ]
        }
      }
    }
  })
}

const NO_PLAN: LeaderPlan = {
  set: [],
  rm: [],
  waiting: [],
  ends: [],
  indexer: null,
  againInMs: null
}

function planFor(world: ControllerWorld & Ages): LeaderPlan {
  const plan = place(world)
  const { change, againInMs } = chooseIndexers(world)
  const times = [plan.againInMs, againInMs].filter((ms) => ms !== null)
  return { ...plan, indexer: change, againInMs: times.length === 0 ? null : Math.min(...times) }
}

/** What a plan appends, without the reasons: an age in one does not make it another plan. */
function changesOf({ set, rm, ends, indexer }: LeaderPlan): string {
  const who = indexer === null ? null : [indexer.node, indexer.indexer]
  return JSON.stringify([
    set.map((s) => [slotKey(s), s.node, s.revision]),
    rm.map(slotKey),
    ends.map(({ of, outcome }) => [of, outcome]),
    who
  ])
}
