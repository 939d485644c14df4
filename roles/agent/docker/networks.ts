/**
 * App networks: one bridge network for each application of this node, in a subnet of its own, so that
 * an address tells of which application a container is. It is there while a container has it.
 */
import { createHash } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { BrumeError } from '../../../core/errors.ts'
import type { Owner } from '../engine.ts'
import type { Connection } from './connection.ts'
import { LABEL, ownLabels } from './container.ts'
import { refusalOf } from './refusal.ts'

/** In the upper half of 10.214.0.0/16 are virtual addresses (roles/connector). */
const APP_RANGE = '10.214.0.0/17'
/** Of 256 addresses each. */
const SUBNETS = 128

export class AppNetworks {
  readonly #owner: Owner
  readonly #connection: Connection
  /** By application: the id of its network, being made or there. */
  readonly #known = new Map<string, Promise<string>>()
  /** Containers that are being made in it: it must not go. */
  readonly #used = new Map<string, number>()
  /** Being removed, or found to be in use. */
  readonly #going = new Map<string, Promise<void>>()

  constructor(owner: Owner, connection: Connection) {
    this.#owner = owner
    this.#connection = connection
  }

  /** Calls with the network's id, again with a new one where somebody else removed it. */
  async using<T>(application: string, make: (network: string) => Promise<T>): Promise<T> {
    this.#used.set(application, (this.#used.get(application) ?? 0) + 1)
    try {
      const id = await this.#ensure(application)
      try {
        return await make(id)
      } catch (error) {
        if (!isNetworkMissing(error)) throw error
        this.#known.delete(application)
        return await make(await this.#ensure(application))
      }
    } finally {
      const left = (this.#used.get(application) ?? 1) - 1
      if (left === 0) this.#used.delete(application)
      else this.#used.set(application, left)
    }
  }

  /** Removes it where no container has it any more. */
  async tidy(application: string): Promise<void> {
    if (this.#used.has(application) || this.#going.has(application)) return
    const going = this.#removeUnused(application)
    this.#going.set(application, going)
    try {
      await going
    } finally {
      this.#going.delete(application)
    }
  }

  /** Removes all of this owner that no container runs in. */
  async clear(): Promise<void> {
    const networks = await this.#list(ownLabels(this.#owner))
    this.#known.clear()
    for (const { id } of networks) await this.#remove(id)
  }

  async #removeUnused(application: string): Promise<void> {
    const label = [...ownLabels(this.#owner), `${LABEL.application}=${application}`]
    const left = await this.#connection.ask('list containers', () =>
      this.#connection.docker.listContainers({ all: true, limit: 1, filters: { label } })
    )
    if (left.length > 0) return
    this.#known.delete(application)
    for (const { id } of await this.#list(label)) await this.#remove(id)
  }

  async #ensure(application: string): Promise<string> {
    await this.#going.get(application)
    const known = this.#known.get(application)
    if (known !== undefined) return known
    const made = this.#findOrMake(application)
    this.#known.set(application, made)
    made.catch(() => this.#known.delete(application))
    return made
  }

  async #findOrMake(application: string): Promise<string> {
    const label = [...ownLabels(this.#owner), `${LABEL.application}=${application}`]
    const [found] = await this.#list(label)
    if (found !== undefined) return found.id
    const taken = await this.#takenSubnets()
    const first = firstSubnet(`${this.#owner.node}/${application}`)
    for (let i = 0; i < SUBNETS; i++) {
      const subnet = (first + i) % SUBNETS
      if (taken.has(subnet)) continue
      const id = await this.#make(application, subnet)
      if (id !== null) return id
    }
    throw new BrumeError('ENGINE_FAILED', `no subnet of ${APP_RANGE} is free for ${application}`, {
      next: 'see `docker network ls`: remove networks that nobody needs'
    })
  }

  /** null where the subnet turns out to be taken. */
  async #make(application: string, subnet: number): Promise<string | null> {
    const doing = `make a network for ${application}`
    try {
      const network = await this.#connection.ask(
        doing,
        () =>
          this.#connection.docker.createNetwork({
            Name: `brume-${this.#owner.node.slice(0, 6)}-${application}`,
            Driver: 'bridge',
            IPAM: { Config: [{ Subnet: `10.214.${subnet}.0/24` }] },
            Labels: {
              [LABEL.mesh]: this.#owner.mesh,
              [LABEL.node]: this.#owner.node,
              [LABEL.application]: application
            }
          }),
        { raw: true }
      )
      return network.id
    } catch (error) {
      if (/overlap/i.test(refusalOf(error).sentence)) return null
      return this.#connection.ask(doing, () => Promise.reject(error as Error))
    }
  }

  /** Already gone, or in use again by somebody else's doing, is no failure. */
  async #remove(id: string): Promise<void> {
    const doing = 'remove a network'
    try {
      await this.#connection.ask(doing, () => this.#connection.docker.getNetwork(id).remove(), {
        raw: true
      })
    } catch (error) {
      const { status } = refusalOf(error)
      if (status !== 404 && status !== 403)
        await this.#connection.ask(doing, () => Promise.reject(error as Error))
    }
  }

  async #list(label: string[]): Promise<{ id: string; application: string }[]> {
    const networks = await this.#connection.ask('list networks', () =>
      this.#connection.docker.listNetworks({ filters: { label } })
    )
    return networks.map(({ Id, Labels }) => ({
      id: Id,
      application: Labels?.[LABEL.application] ?? ''
    }))
  }

  /** By this engine, or by anything on this machine. */
  async #takenSubnets(): Promise<Set<number>> {
    const networks = await this.#connection.ask('list networks', () =>
      this.#connection.docker.listNetworks()
    )
    const ofEngine = networks.flatMap(
      ({ IPAM }) => IPAM?.Config?.map((each) => each['Subnet']) ?? []
    )
    const ofMachine = Object.values(networkInterfaces()).flatMap(
      (each) => each?.map(({ address }) => address) ?? []
    )
    const numbers = [...ofEngine, ...ofMachine].map((each) => /^10\.214\.(\d+)\./.exec(each ?? ''))
    return new Set(numbers.flatMap((match) => (match === null ? [] : [Number(match[1])])))
  }
}

/** Spread, so that nodes that share an engine rarely try the same. */
function firstSubnet(name: string): number {
  return (createHash('sha256').update(name).digest()[0] ?? 0) % SUBNETS
}

/** Docker says so of a container's network at its making and at its start. */
export function isNetworkMissing(error: unknown): boolean {
  const { status, sentence } = refusalOf(error)
  return status === 404 && /^network \S+ not found/.test(sentence)
}
