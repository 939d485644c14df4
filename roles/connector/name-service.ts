/**
 * Names on this node: a block of virtual addresses, a resolver at the first of it, and a listener for
 * each thing that has an address. One is given when its name is first asked for.
 */
import { randomInt } from 'node:crypto'
import net from 'node:net'
import { join } from 'node:path'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { readIfThere, writeWhole } from '../../core/files.ts'
import type { Logger } from '../../core/logger.ts'
import { integer } from '../../core/state/shape.ts'
import { serviceKey, type Directory, type Replica, type Service } from './directory.ts'
import { mayReach } from './gate.ts'
import { listen, Listeners, type ListenersComponents, type Wanted } from './listeners.ts'
import { endsOf, readName, type Target } from './names.ts'
import {
  clearRules,
  dropForged,
  leaveRange,
  ownRange,
  setRules,
  type LocalPort,
  type Redirect
} from './packet-rules.ts'
import { openResolver, type Answer, type Resolver } from './resolver.ts'
import { blockAddress, BLOCKS, keyOf, VirtualAddresses, type SavedAddresses } from './virtual.ts'

export interface NameComponents extends Pick<ListenersComponents, 'askerAt' | 'open'> {
  /** Data directory. */
  dir: string
  /** Node id. */
  self: string
  /** Of a container of this node; null where it has none. */
  addressOf: (replica: Replica) => string | null
  /** Who serves now. */
  directory: () => Directory
  /** Ports of this daemon, which containers have no business with. */
  ownPorts: () => LocalPort[]
  log: Logger
}

export interface NameService {
  /** What containers ask. */
  address: string
  /** Follows the directory; `again`: and puts back what is missing. @throws BrumeError NAMES_FAILED */
  update(again: boolean): Promise<void>
  close(): Promise<void>
}

interface Saved extends SavedAddresses {
  /** Where datagrams for APP/MICROSERVICE[/SLOT]:PORT are led. */
  udpPorts: Record<string, number>
}

/** Held by the daemon that has the block. */
const CLAIM_PORT = 49_736
const FILE = 'names.json'

/** @throws BrumeError NAMES_IMPOSSIBLE where this machine can never do so, NAMES_FAILED */
export async function openNames(components: NameComponents): Promise<NameService> {
  await ownRange()
  const saved = await load(components.dir)
  const { block, claim } = await claimBlock(saved?.block ?? 0)
  try {
    const names = new Names(components, block, saved?.block === block ? saved : null)
    await names.open()
    return {
      address: blockAddress(block),
      update: (again) => names.update(again),
      async close() {
        await names.close()
        claim.close()
      }
    }
  } catch (error) {
    claim.close()
    throw error
  }
}

/** Takes away what names left on this machine; what is in use by another daemon stays. */
export async function forgetNames(dir: string): Promise<void> {
  const saved = await load(dir)
  if (saved === null) return
  await clearRules(saved.block)
  await leaveRange()
}

class Names {
  readonly #it: NameComponents
  readonly #block: number
  readonly #addresses: VirtualAddresses
  readonly #listeners: Listeners
  #udpPorts: Map<string, number>
  #resolver: Resolver | null = null
  /** What packets are led by now, and what was saved. */
  #rules = ''
  #saved = ''
  #isWarned = false
  /** What has an address that works. */
  #ready = new Set<string>()
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | null = null

  constructor(components: NameComponents, block: number, saved: Saved | null) {
    this.#it = components
    this.#block = block
    this.#addresses = new VirtualAddresses(block, saved)
    this.#udpPorts = new Map(Object.entries(saved?.udpPorts ?? {}))
    this.#listeners = new Listeners({ ...components, address: blockAddress(block) })
  }

  async open(): Promise<void> {
    this.#resolver = await openResolver({
      address: blockAddress(this.#block),
      resolve: (name, from) => this.#resolve(name, from),
      log: this.#it.log
    })
    try {
      await this.#settle()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async update(again: boolean): Promise<void> {
    if (again) this.#rules = ''
    const directory = this.#it.directory()
    // Before the first look all would seem gone, and each get another address than it had.
    const known = directory.size === 0 ? [] : this.#addresses.targets()
    for (const target of known) {
      if (!directory.has(serviceKey(target))) this.#addresses.take(target)
    }
    await this.#settle()
  }

  async close(): Promise<void> {
    this.#resolver?.close()
    this.#listeners.close()
  }

  async #resolve(name: string, from: string): Promise<Answer> {
    const asker = await this.#it.askerAt(from)
    if (asker === null) return 'refused'
    if (name.endsWith('.214.10.in-addr.arpa')) return 'nobody'
    const directory = this.#it.directory()
    const may = (application: string, microservice: string): boolean => {
      const service = directory.get(`${application}/${microservice}`)
      return service !== undefined && mayReach(asker, service)
    }
    const named = readName(name, asker.application, may)
    if (named === 'nobody' || named === 'elsewhere') return named
    const service = directory.get(serviceKey(named)) as Service
    const { self, addressOf } = this.#it
    const ends = endsOf(named, service, asker.application, { self, addressOf })
    const virtual = ends.flatMap((end) => ('virtual' in end ? [end.virtual] : []))
    await this.#make(virtual)
    return shuffled(
      ends.map((end) => ('address' in end ? end.address : this.#addresses.give(end.virtual)))
    )
  }

  /** So that each works before anybody is told of it. */
  async #make(targets: readonly Target[]): Promise<void> {
    for (const target of targets) this.#addresses.give(target)
    if (targets.every((target) => this.#ready.has(keyOf(target)))) return
    await this.#settle()
  }

  /** One at a time: who asks during one is served by the next, with all others who did. */
  #settle(): Promise<void> {
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = null
        return (this.#running = this.#apply())
      })
    return this.#next
  }

  async #apply(): Promise<void> {
    const directory = this.#it.directory()
    const targets = this.#addresses.targets()
    const wanted = targets.flatMap((target): Wanted[] => {
      const ports = directory.get(serviceKey(target))?.ports ?? []
      return ports.map(({ container, protocol }) => ({ target, port: container, protocol }))
    })
    for (const one of wanted.filter(isUdp)) await this.#listenAgain(one)
    const ports = await this.#listeners.set(wanted)
    this.#udpPorts = new Map(
      wanted.flatMap((one, i) => (isUdp(one) ? [[portKey(one), ports[i] ?? 0]] : []))
    )
    await this.#save()
    await this.#lead(wanted.map((one, i) => this.#redirect(one, ports[i] ?? 0)))
    this.#ready = new Set(targets.map(keyOf))
  }

  /**
   * Whoever sends datagrams from one port to one address, the kernel leads on to where it led the
   * first of them, until that is quiet for long: at another port they would be heard no more.
   */
  async #listenAgain(wanted: Wanted): Promise<void> {
    const at = this.#udpPorts.get(portKey(wanted))
    if (at === undefined) return
    try {
      await this.#listeners.add({ ...wanted, at })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    }
  }

  async #save(): Promise<void> {
    const udpPorts = Object.fromEntries(this.#udpPorts)
    const saved = JSON.stringify({ ...this.#addresses.saved(), udpPorts })
    if (saved !== this.#saved) await writeWhole(join(this.#it.dir, FILE), saved)
    this.#saved = saved
  }

  #redirect({ target, port, protocol = 'tcp' }: Wanted, to: number): Redirect {
    return { address: this.#addresses.give(target), port, protocol, to }
  }

  async #lead(redirects: readonly Redirect[]): Promise<void> {
    const address = blockAddress(this.#block)
    const { udp = 0, tcp = 0 } = this.#resolver?.ports ?? {}
    const all: Redirect[] = [
      { address, port: 53, protocol: 'udp', to: udp },
      { address, port: 53, protocol: 'tcp', to: tcp },
      ...redirects
    ]
    const closed = this.#it.ownPorts()
    const rules = JSON.stringify([all, closed])
    if (rules === this.#rules) return
    await setRules(this.#block, all, closed)
    await this.#dropForged()
    this.#rules = rules
  }

  async #dropForged(): Promise<void> {
    try {
      await dropForged(this.#block)
    } catch (error) {
      if (!this.#isWarned) {
        const said = 'a container that forges its address can send datagrams in the name of another'
        this.#it.log.warn({ error: sentenceOf(error) }, said)
      }
      this.#isWarned = true
    }
  }
}

const isUdp = ({ protocol }: Wanted): boolean => protocol === 'udp'

const portKey = ({ target, port }: Wanted): string => `${keyOf(target)}:${port}`

/** In no order: clients take the first. */
function shuffled<T>(all: T[]): T[] {
  for (let i = all.length - 1; i > 0; i--) {
    const j = randomInt(i + 1)
    ;[all[i], all[j]] = [all[j] as T, all[i] as T]
  }
  return all
}

/** The first that no daemon of this machine has, beginning with the one it had before. */
async function claimBlock(first: number): Promise<{ block: number; claim: net.Server }> {
  for (let tries = 0; tries < BLOCKS; tries++) {
    const block = (first + tries) % BLOCKS
    const claim = net.createServer((socket) => socket.destroy())
    try {
      await listen(claim, blockAddress(block), CLAIM_PORT)
      return { block, claim }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue
      throw new BrumeError('NAMES_FAILED', `no block of addresses: ${sentenceOf(error)}`)
    }
  }
  throw new BrumeError('NAMES_FAILED', `${BLOCKS} daemons of this machine have names already`)
}

/** What cannot be read is as good as nothing: addresses are given anew. */
async function load(dir: string): Promise<Saved | null> {
  const bytes = await readIfThere(join(dir, FILE))
  if (bytes === null) return null
  try {
    const saved = JSON.parse(bytes.toString()) as Partial<Saved>
    const { block = -1, next, places, udpPorts = {} } = saved
    if (next === undefined || places === undefined) return null
    if (!Number.isInteger(block) || block < 0 || block >= BLOCKS) return null
    const ports = Object.entries(udpPorts).filter(([, port]) => integer(1, 65_535).check(port))
    return { block, next, places, udpPorts: Object.fromEntries(ports) }
  } catch {
    return null
  }
}
