/** What a simulation consists of: hosts, the network between them, and what was acknowledged. */
import type { Op } from '../../../core/state/index.ts'
import { BrumeError, sentenceOf } from '../../../core/errors.ts'
import { judge } from '../../../core/judge.ts'
import type { OpId } from '../../../core/state/records.ts'
import { Host, type HostOptions } from './host.ts'
import type { SimNetwork } from './network.ts'
import type { VirtualTime } from './virtual-time.ts'

export interface Acknowledged {
  op: OpId
  author: Host
  what: string
}

/** Longest that anything an administrator does may take, in virtual ms. */
const PATIENCE_MS = 70_000

/** Words that a newcomer, or who gives it a key, may hear amid what goes on here. */
const REFUSALS = new Set([
  'JOIN_TIMEOUT',
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
])

export class World {
  readonly hosts: Host[] = []
  readonly acknowledged: Acknowledged[] = []
  /** What was done, in words, with virtual seconds. */
  readonly steps: string[] = []
  readonly broken: string[] = []
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

  /** Those that are up and not standing still. */
  get awake(): Host[] {
    return this.hosts.filter((host) => host.up && !host.paused)
  }

  say(what: string): void {
    this.steps.push(`${(this.time.now / 1000).toFixed(2)} ${what}`)
  }

  add(): Host {
    const host = new Host(`n${this.hosts.length}`, this.options)
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
  administer(host: Host, what: string, ops: Op[]): void {
    this.say(`${host.name}: ${what}`)
    const { mesh } = host
    const done = host
      .as(() => mesh.append(ops))
      .then((ids) => {
        for (const op of ids) this.acknowledged.push({ op, author: host, what })
      })
      .catch((error: unknown) => {
        // Others may have decided otherwise between the look and the op.
        const codes = ['OP_REFUSED', 'NODE_REMOVED', 'NOT_A_MEMBER']
        if (error instanceof BrumeError && codes.includes(error.code)) return
        // Of a run that was ended meanwhile, nothing was promised.
        if (!host.up || host.mesh !== mesh) return
        this.broken.push(`${host.name}: ${what}: ${sentenceOf(error)}`)
      })
    this.#track(done)
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
        if (!(error instanceof BrumeError) || !REFUSALS.has(error.code)) throw error
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

  #track(done: Promise<void>): void {
    this.#doing.add(done)
    void done.finally(() => this.#doing.delete(done))
  }
}

/** `to` is no member any more, or not yet, as `host` sees it; or `host` has gone itself. */
function isShut(host: Host, to: Host): boolean {
  const { state, membership } = host.mesh
  if (state.nodes.get(host.id)?.state === 'removed') return true
  const known = state.nodes.get(to.id)
  if (known !== undefined) return known.state !== 'member'
  // Let in by one whose word did not count any more, with a key that is none any more.
  const { paper, proof } = to.mesh.membership
  const { mesh, joinPublicKey } = membership.paper
  const now = Date.now()
  return judge({ paper, proof, wants: false }, { state, mesh, joinPublicKey, now }) !== null
}
