/** The containers of one owner on an engine. Verbs touch no others. */
import { setTimeout as sleep } from 'node:timers/promises'
import type Docker from 'dockerode'
import { BrumeError } from '../../../core/errors.ts'
import type { ContainerSpec, EngineContainer, Owner } from '../engine.ts'
import type { Connection } from './connection.ts'
import { engineContainerOf, LABEL, labelsOf, ownLabels } from './container.ts'
import { brumeErrorOf, refusalOf } from './refusal.ts'

/** How often to ask for a container whose name is taken and which is not there yet. */
const BEING_MADE_TRIES = 30

export class OwnContainers {
  readonly #owner: Owner
  readonly #connection: Connection
  /** By id, of those known to carry our labels: verbs on these need no look first. */
  readonly #applications = new Map<string, string>()

  constructor(owner: Owner, connection: Connection) {
    this.#owner = owner
    this.#connection = connection
  }

  async list(): Promise<EngineContainer[]> {
    const found = await this.#connection.ask('list containers', (abortSignal) =>
      this.#connection.docker.listContainers({
        all: true,
        filters: { label: ownLabels(this.#owner) },
        abortSignal
      })
    )
    // The list has neither exit codes nor start times.
    const inspected = await Promise.all(found.map(({ Id }) => this.#inspect(Id)))
    const containers = inspected.filter((each) => each !== null)
    this.#applications.clear()
    const listed = containers.map(engineContainerOf)
    for (const { id, application } of listed) this.#applications.set(id, application)
    return listed
  }

  note(id: string, application: string): void {
    this.#applications.set(id, application)
  }

  forget(id: string): void {
    this.#applications.delete(id)
  }

  /** Where it is known. */
  applicationOf(id: string): string | undefined {
    return this.#applications.get(id)
  }

  async has(id: string): Promise<boolean> {
    if (this.#applications.has(id)) return true
    const labels = (await this.#inspect(id))?.Config.Labels ?? {}
    const ours = labels[LABEL.mesh] === this.#owner.mesh && labels[LABEL.node] === this.#owner.node
    if (ours) this.#applications.set(id, labels[LABEL.application] ?? '')
    return ours
  }

  async mustHave(id: string): Promise<void> {
    if (await this.has(id)) return
    throw new BrumeError('ENGINE_FAILED', `container ${short(id)} is not there (any more)`)
  }

  /** The id of the container that took the name, if it is what `spec` asks for. */
  async adopt(name: string, spec: ContainerSpec, cause: unknown): Promise<string> {
    // Docker takes the name before it can tell of the container: its first asker may be a daemon
    // that was killed a moment ago.
    let there = await this.#inspect(name)
    for (let tries = 0; there === null && tries < BEING_MADE_TRIES; tries++) {
      await sleep(100)
      there = await this.#inspect(name)
    }
    const labels = there?.Config.Labels ?? {}
    const same = Object.entries(labelsOf(this.#owner, spec)).every(([k, v]) => labels[k] === v)
    if (there && same) {
      this.#applications.set(there.Id, spec.application)
      return there.Id
    }
    throw new BrumeError(
      'ENGINE_FAILED',
      `could not create ${name}: another container has that name`,
      { next: `look at it (\`docker inspect ${name}\`) and remove it`, cause }
    )
  }

  /** null if it is not there (any more). */
  async #inspect(id: string): Promise<Docker.ContainerInspectInfo | null> {
    try {
      return await this.#connection.ask(
        `inspect container ${short(id)}`,
        (abortSignal) => this.#connection.docker.getContainer(id).inspect({ abortSignal }),
        { raw: true }
      )
    } catch (error) {
      if (refusalOf(error).status === 404) return null
      throw await brumeErrorOf(error, `inspect container ${short(id)}`, this.#connection.socketPath)
    }
  }
}

/** As people write it. */
export function short(id: string): string {
  return /^[0-9a-f]{64}$/.test(id) ? id.slice(0, 12) : id
}
