/**
 * How processes reach microservices: each that asks has a port of 127.0.0.1 for each thing it may reach,
 * so that a flow carries who asks. Its address is in its environment and it never learns another:
 * ports outlive the daemon, and one stays while a process of who asks is here.
 */
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { readIfThere, writeWhole } from '../../core/files.ts'
import type { Logger } from '../../core/logger.ts'
import { serviceKey } from './directory.ts'
import { Listeners, type ListenersComponents, type Wanted } from './listeners.ts'
import { variablesFor, type Asker, type Reachable, type Reached } from './variables.ts'

export interface LoopbackComponents extends Pick<ListenersComponents, 'open'> {
  /** Data directory. */
  dir: string
  /** What there is to reach. */
  state: () => Reachable
  /** Who has a process on this node, or is to have one; null while nobody knows. */
  askers: () => readonly Asker[] | null
  log: Logger
}

/** Of each that asks, by APP/MICROSERVICE: its port for each APP/MICROSERVICE:PORT[/udp]. */
type Ports = Map<string, Map<string, number>>

type WantedHere = Wanted & { from: Asker }

const ADDRESS = '127.0.0.1'
const FILE = 'loopback.json'
/** Below those that systems give to whoever asks for any: while the daemon is down nobody gets one. */
const RANGE = { first: 20_000, end: 30_000 }
const TRIES = 100

export class Loopback {
  readonly #it: LoopbackComponents
  readonly #listeners: Listeners
  #ports: Ports | null = null
  #saved = ''
  /** What was warned of and is still so. */
  readonly #warned = new Set<string>()
  #running: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(components: LoopbackComponents) {
    this.#it = components
    this.#listeners = new Listeners({ ...components, address: ADDRESS, askerAt: nobody })
  }

  /**
   * What a process of it is told: variables by name, HOST:PORT each. Somebody listens there once this
   * resolves, and will be there again after a restart of the daemon.
   */
  envFor(from: Asker): Promise<Record<string, string>> {
    return this.#inTurn(async () => {
      const ports = await this.#settle(from)
      const own = ports.get(serviceKey(from))
      const variables = variablesFor(from, this.#it.state())
      return Object.fromEntries(
        [...variables].map(([name, reached]) => [
          name,
          `${ADDRESS}:${own?.get(keyOfWanted(reached))}`
        ])
      )
    })
  }

  /** Looks again at what there is to reach, and who is here to ask. */
  follow(): void {
    const settled = this.#inTurn(() => this.#settle(null))
    settled.then(
      () => this.#warned.delete(''),
      (error: unknown) => {
        if (!this.#closed) this.#warn('', {}, `processes lack addresses: ${sentenceOf(error)}`)
      }
    )
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#running
    this.#listeners.close()
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#running.then(() => {
      if (this.#closed) throw new BrumeError('CALLED_OFF', 'The roles of this node end.')
      return act()
    })
    this.#running = turn.catch(() => undefined)
    return turn
  }

  /** `starting`: who is about to be told, and so may be told of another port than was told before. */
  async #settle(starting: Asker | null): Promise<Ports> {
    const ports = (this.#ports ??= await this.#load())
    const askers = this.#askers(ports, starting)
    for (const key of ports.keys()) if (!askers.has(key)) ports.delete(key)
    const state = this.#it.state()
    const wanted = [...askers.values()].flatMap((from) => wantedOf(from, state))
    this.#listeners.keep(wanted)
    for (const one of wanted) {
      const key = serviceKey(one.from)
      const own = ports.get(key) ?? new Map<string, number>()
      ports.set(key, own)
      const before = own.get(keyOfWanted(one))
      const isTold = starting !== null && serviceKey(starting) === key
      if (before === undefined || (!(await this.#again(one, before)) && isTold)) {
        own.set(keyOfWanted(one), await this.#anew(one))
      }
    }
    await this.#save(ports)
    return ports
  }

  #askers(ports: Ports, starting: Asker | null): Map<string, Asker> {
    const here = this.#it.askers() ?? [...ports.keys()].map(askerOf)
    const askers = starting === null ? here : [...here, starting]
    return new Map(askers.map((asker) => [serviceKey(asker), asker]))
  }

  /** Whether it listens at the port it had. */
  async #again(wanted: WantedHere, at: number): Promise<boolean> {
    const from = serviceKey(wanted.from)
    const to = keyOfWanted(wanted)
    try {
      await this.#listeners.add({ ...wanted, at })
      this.#warned.delete(`${from} ${to}`)
      return true
    } catch (error) {
      if (!isTaken(error)) throw error
      const said =
        `port ${at} of ${ADDRESS} is taken by another program: processes of ${from} do not reach ` +
        `${to} there (\`brume restart ${from}\` gives them another)`
      this.#warn(`${from} ${to}`, { from, to, port: at }, said)
      return false
    }
  }

  async #anew(wanted: WantedHere): Promise<number> {
    for (let tries = 0; tries < TRIES; tries++) {
      const at = randomInt(RANGE.first, RANGE.end)
      if (this.#isGiven(at)) continue
      try {
        return await this.#listeners.add({ ...wanted, at })
      } catch (error) {
        if (!isTaken(error)) throw error
      }
    }
    const range = `${RANGE.first} to ${RANGE.end - 1}`
    throw new BrumeError('NO_ADDRESS', `no port of ${ADDRESS} from ${range} is free`)
  }

  #isGiven(port: number): boolean {
    return [...(this.#ports ?? new Map()).values()].some((own: Map<string, number>) =>
      [...own.values()].includes(port)
    )
  }

  #warn(about: string, fields: object, sentence: string): void {
    if (this.#warned.has(about)) return
    this.#warned.add(about)
    this.#it.log.warn(fields, sentence)
  }

  async #load(): Promise<Ports> {
    const bytes = await readIfThere(join(this.#it.dir, FILE))
    const ports = bytes === null ? new Map() : readPorts(bytes)
    if (ports !== null) return ports
    this.#warn(FILE, {}, `${FILE} cannot be read: processes made before may reach nobody`)
    return new Map()
  }

  async #save(ports: Ports): Promise<void> {
    const text = JSON.stringify(
      Object.fromEntries([...ports].map(([from, own]) => [from, Object.fromEntries(own)]))
    )
    if (text === this.#saved) return
    await writeWhole(join(this.#it.dir, FILE), text)
    this.#saved = text
  }
}

const nobody = (): Promise<null> => Promise.resolve(null)

const keyOfWanted = ({ target, port, protocol }: Reached | Wanted): string =>
  `${serviceKey(target)}:${port}${protocol === 'udp' ? '/udp' : ''}`

function askerOf(key: string): Asker {
  const [application = '', microservice = ''] = key.split('/')
  return { application, microservice }
}

function wantedOf(from: Asker, state: Reachable): WantedHere[] {
  const wanted = new Map<string, WantedHere>()
  for (const reached of variablesFor(from, state).values()) {
    wanted.set(keyOfWanted(reached), { ...reached, from })
  }
  return [...wanted.values()]
}

const isTaken = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EADDRINUSE'

/** null where it is no such file. */
function readPorts(bytes: Buffer): Ports | null {
  try {
    const saved = JSON.parse(bytes.toString()) as Record<string, Record<string, number>>
    return new Map(Object.entries(saved).map(([from, own]) => [from, new Map(Object.entries(own))]))
  } catch {
    return null
  }
}
