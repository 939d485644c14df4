/** What a simulation consists of: hosts, the network between them, and what was acknowledged. */
import type { Op } from '../../../core/state/index.ts'
import { BrumeError, sentenceOf } from '../../../core/errors.ts'
import { judge } from '../../../core/judge.ts'
import type { OpId } from '../../../core/state/records.ts'
import { Host, type HostOptions } from './host.ts'
import { wrongStop } from './invariants/rollouts.ts'
import type { SimNetwork } from './network.ts'
import type { VirtualTime } from './virtual-time.ts'

/** An op an administrator gave, in the order they were given. */
export interface Given {
  op: Op
  author: Host
  what: string
  /** Once it was acknowledged. */
  id: OpId | null
}

export type Acknowledged = Given & { id: OpId }

/** Longest that anything an administrator does may take, in virtual ms. */
const PATIENCE_MS = 130_000

/** Words that a newcomer, or who gives it a key, may hear amid what goes on here. */
const REFUSALS = [
  'JOIN_TIMEOUT',
  'JOIN_NO_VIEW',
  'KEY_OLD',
  'KEY_UNKNOWN',
  'KEY_ELSEWHERE',
  'FORBIDDEN',
  'MESH_LOCKED',
  'NODE_PENDING',
  'NODE_REMOVED',
  'INVITE_USED',
  'INVITE_REVOKED',
  'INVITE_EXPIRED',
  'OP_REFUSED',
  'BUSY'
]

/** What keeps a mesh from being recovered, or a node from leaving: it may be tried again. */
const NOT_RECOVERED = [
  'RECOVER_NEEDS_BLOCKS',
  'RECOVER_FAILED',
  'NOT_FORKED',
  'OP_REFUSED',
  'NODE_REMOVED',
  'NOT_A_MEMBER'
]
const NOT_LEFT = ['ALONE', 'LAST_ADMIN', 'NOT_SPREAD', 'OP_REFUSED', 'NODE_REMOVED', 'NOT_A_MEMBER']

export class World {
  readonly hosts: Host[] = []
  readonly given: Given[] = []
  /** Nodes whose rights somebody changed, or tried to, and nodes that somebody tried to remove. */
  readonly demoted = new Set<string>()
  readonly expelled = new Set<string>()
  /** Who was in before anything happened: all others came in by keys that may have come to nothing. */
  founders: ReadonlySet<string> = new Set()
  /** What was done, in words, with virtual seconds. */
  readonly steps: string[] = []
  readonly broken: string[] = []
  /** Appends of leaders, where a theme counts them. */
  decisions = 0
  readonly options: HostOptions
  readonly #doing = new Set<Promise<void>>()

  constructor(options: HostOptions) {
    this.options = options
  }

  get time(): VirtualTime {
    return this.options.time
  }

  get network(): SimNetwork {
    return this.options.network
  }

  get acknowledged(): Acknowledged[] {
    return this.given.filter((given): given is Acknowledged => given.id !== null)
  }

  /** Those that are up and not standing still. */
  get awake(): Host[] {
    return this.hosts.filter((host) => host.up && !host.paused)
  }

  say(what: string): void {
    this.steps.push(`${(this.time.now / 1000).toFixed(2)} ${what}`)
  }

  add(): Host {
    const host = new Host(`n${this.hosts.length}`, this.options)
    host.engine.onStop = (container) => {
      const wrong = wrongStop(this, host, container)
      if (wrong !== null) this.broken.push(`at ${(this.time.now / 1000).toFixed(2)} ${wrong}`)
    }
    this.hosts.push(host)
    return host
  }

  /** A newcomer, on the side of the host it shall come in by. */
  addBeside(host: Host): Host {
    const fresh = this.add()
    this.network.put(fresh.id, host.id)
    return fresh
  }

  /**
   * Connected parts: hosts that are up, reach each other, over others too, and are no strangers: a
   * node that was removed, or waits to be let in, is a part of its own to those who know.
   */
  parts(): Host[][] {
    const left = new Set(this.hosts.filter(({ up }) => up))
    const parts: Host[][] = []
    for (const first of left) {
      const part = [first]
      left.delete(first)
      for (const host of part) {
        for (const other of left) {
          if (!this.network.reaches(host.id, other.id)) continue
          if (isShut(host, other) || isShut(other, host)) continue
          part.push(other)
          left.delete(other)
        }
      }
      parts.push(part)
    }
    return parts
  }

  /** An administrator's ops on one host; the world goes on meanwhile. */
  administer(host: Host, what: string, ops: Op[] | (() => Promise<Op[]>)): void {
    this.say(`${host.name}: ${what}`)
    const { mesh } = host
    const append = async (): Promise<void> => {
      const list = Array.isArray(ops) ? ops : await ops()
      const given = this.#give(host, what, list)
      const ids = await mesh.append(list)
      given.forEach((each, i) => (each.id = ids[i] ?? null))
    }
    const done = host.as(append).catch((error: unknown) => {
      // Others may have decided otherwise between the look and the op.
      if (isOneOf(error, ['OP_REFUSED', 'NODE_REMOVED', 'NOT_A_MEMBER'])) return
      // Of a run that was ended meanwhile, nothing was promised.
      if (!host.up || host.mesh !== mesh) return
      this.broken.push(`${host.name}: ${what}: ${sentenceOf(error)}`)
    })
    this.#track(done)
  }

  /** Goes on without the indexers that are lost, as one side of a split sees it. */
  recover(host: Host, what: string): void {
    const { mesh } = host
    this.begin(`${host.name}: ${what}`, async () => {
      try {
        await host.orGone(() => mesh.recover())
      } catch (error) {
        if (isOneOf(error, NOT_RECOVERED)) this.say(`${host.name} does not recover: ${error.code}`)
        else if (host.up && host.mesh === mesh) throw error
      }
    })
  }

  /** A node leaves for good; or stays, if the mesh has its reasons. */
  leave(host: Host, force: boolean): void {
    this.expelled.add(host.id)
    this.begin(`${host.name} leaves${force ? ', whatever the others heard' : ''}`, async () => {
      try {
        await host.leave(force)
      } catch (error) {
        if (isOneOf(error, NOT_LEFT)) this.say(`${host.name} does not leave: ${error.code}`)
        else if (host.up) throw error
      }
    })
  }

  /** Something that takes its time, while the world goes on. */
  begin(what: string, act: () => Promise<void>): void {
    this.say(what)
    const failed = (error: unknown): void => {
      this.broken.push(`${what}: ${sentenceOf(error)}`)
    }
    this.#track(this.time.as(null, act).catch(failed))
  }

  /** A newcomer comes in by what a member gives it; or not, if the mesh has its reasons. */
  join(host: Host, by: string, key: () => Promise<string>): void {
    this.begin(`${host.name} joins by ${by}`, async () => {
      try {
        await host.join(await key())
      } catch (error) {
        if (!isOneOf(error, REFUSALS)) throw error
        this.say(`${host.name} is not let in: ${error.code}`)
      }
    })
  }

  /** Resolves once all that was begun has ended. */
  async finish(): Promise<void> {
    const ended = await this.time.until(() => this.#doing.size === 0, PATIENCE_MS)
    if (!ended) throw new Error(`what was begun did not end within ${PATIENCE_MS / 1000} s`)
  }

  /** Waits for one thing, letting time pass. */
  async whole<T>(act: () => Promise<T>): Promise<T> {
    let result: { value: T } | { error: unknown } | null = null
    void act().then(
      (value) => (result = { value }),
      (error: unknown) => (result = { error })
    )
    await this.time.until(() => result !== null, PATIENCE_MS)
    const ended = result as { value: T } | { error: unknown } | null
    if (ended === null) throw new Error(`it did not end within ${PATIENCE_MS / 1000} s`)
    if ('error' in ended) throw ended.error
    return ended.value
  }

  #give(author: Host, what: string, ops: Op[]): Given[] {
    const given = ops.map((op): Given => ({ op, author, what, id: null }))
    this.given.push(...given)
    for (const op of ops) {
      if (op.type === 'node.set' && op.role !== undefined) this.demoted.add(op.node)
      if (op.type === 'node.rm') this.expelled.add(op.node)
    }
    return given
  }

  #track(done: Promise<void>): void {
    this.#doing.add(done)
    void done.finally(() => this.#doing.delete(done))
  }
}

const isOneOf = (error: unknown, codes: string[]): error is BrumeError =>
  error instanceof BrumeError && codes.includes(error.code)

/** `to` is no member any more, or not yet, as `host` sees it; or `host` has gone itself. */
function isShut(host: Host, to: Host): boolean {
  const { state, membership } = host.mesh
  if (state.nodes.get(host.id)?.state === 'removed') return true
  const record = state.nodes.get(to.id)
  if (record !== undefined) return record.state !== 'member'
  // Let in by one whose word did not count any more, with a key that is none any more.
  const { paper, proof } = to.mesh.membership
  const { mesh, joinPublicKey } = membership.paper
  const remembers = (id: string): boolean => host.mesh.gossip.knows(id)
  const known = { state, mesh, joinPublicKey, remembers, now: Date.now() }
  return judge({ paper, proof, wants: false }, known) !== null
}
