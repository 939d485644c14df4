/** One daemon: a data directory, and once it is in a mesh, its part of it and its roles. */
import { createMesh, joinMesh, openMesh } from '../../core/enter.ts'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { loadIdentity } from '../../core/identity.ts'
import type { Logger } from '../../core/logger.ts'
import { checkMachine } from '../../core/machine.ts'
import { decodeMeshKey, meshIdString } from '../../core/mesh-key.ts'
import type { Mesh, MeshComponents } from '../../core/mesh.ts'
import { openStore } from '../../core/store.ts'
import { startNode, type RunningNode } from '../../roles/node.ts'
import type {
  EngineChoice,
  InitRequest,
  InitResult,
  JoinRequest,
  LeaveRequest,
  LeaveResult
} from '../api.ts'
import { VERSION } from '../version.ts'
import { loadConfig, saveConfig, type Config } from './config.ts'
import { openEngine } from './engines.ts'
import { keepEvents, type EventLog } from './events.ts'
import { forget, leave } from './leave.ts'
import { nodeSet } from './seen.ts'

/** A node that is in a mesh. */
export interface Member {
  mesh: Mesh
  node: RunningNode
  events: EventLog
}

export interface Daemon {
  readonly dir: string
  readonly startedAt: number
  /** @throws BrumeError NO_MESH while this node is in none, NOT_READY while its store opens. */
  member(): Member
  init(request: InitRequest): Promise<InitResult>
  join(request: JoinRequest, report: (message: string) => void): Promise<InitResult>
  /** Takes this node out of its mesh, with all it runs; then the process ends. */
  leave(request: LeaveRequest, report: (message: string) => void): Promise<LeaveResult>
  /** Lets the process end; containers stay. */
  requestStop(): void
}

export interface RunningDaemon extends Daemon {
  /** Resolves when the daemon shall end; rejects when it cannot go on. */
  stopRequested: Promise<void>
  close(): Promise<void>
}

/** Tests of whole daemons cannot wait for the minute a node must be alive to confirm the order. */
const stableMs = Number(process.env['BRUME_STABLE_MS'] ?? 0)
/** A whole store opens in less, also with much to replay. */
const OPEN_MS = 10_000

/** @throws BrumeError ALREADY_RUNNING, STORE_FAILED, IDENTITY_DAMAGED, MEMBERSHIP_DAMAGED, … */
export async function openDaemon(dir: string, log: Logger): Promise<RunningDaemon> {
  const config = await loadConfig(dir)
  await checkMachine(dir)
  const store = await openStore(dir)
  const identity = await loadIdentity(dir)
  const components: MeshComponents = { dir, store, identity, relay: config.relay, log }
  let member: Member | null = null
  let entering = false
  let stop: () => void = () => {}
  let fail: (error: Error) => void = () => {}
  const stopRequested = new Promise<void>((resolve, reject) => {
    stop = resolve
    fail = reject
  })
  // Awaited only once the socket serves; an error before that is thrown from here as well.
  stopRequested.catch(() => {})

  const begin = (mesh: Mesh, { engine, names }: Config): Member => {
    mesh.on('failed', (error) => fail(error))
    const owner = { mesh: meshIdString(mesh.oplog.key), node: mesh.self }
    const node = startNode({
      mesh,
      dir,
      openEngine: () => openEngine(engine, owner, dir),
      names,
      log,
      version: VERSION,
      ...(stableMs > 0 ? { stableMs } : {})
    })
    member = { mesh, node, events: keepEvents(mesh) }
    return member
  }

  const enter = async (
    request: InitRequest | JoinRequest,
    open: () => Promise<Mesh>
  ): Promise<InitResult> => {
    if (member !== null) {
      throw new BrumeError(
        'ALREADY_MEMBER',
        `this node is ${member.mesh.me?.displayName ?? 'a member'} of mesh ${member.mesh.membership.paper.mesh.slice(0, 8)} already`,
        { next: 'brume status, or choose another --data directory for another node' }
      )
    }
    if (opening) throw notReady()
    if (entering) throw new BrumeError('ALREADY_JOINING', 'this node is entering a mesh already')
    entering = true
    try {
      const warning = await checkEngine(request.engine, identity.id, dir)
      const { engine, relay = true, names = true } = request
      const chosen: Config = { engine, relay, names }
      await saveConfig(dir, chosen)
      components.relay = chosen.relay
      const { mesh } = begin(await open(), chosen)
      const introduced = await introduce(mesh, request.labels)
      return { ...introduced, warnings: [...introduced.warnings, ...warning] }
    } finally {
      entering = false
    }
  }

  let opening = true
  let left = false
  const opened = openMesh(components).then((mesh) => {
    opening = false
    if (mesh !== null) begin(mesh, config)
  })
  opened.catch((error: unknown) => fail(error as Error))
  // What takes longer waits for blocks that only peers have: the socket must say so meanwhile.
  await Promise.race([opened, new Promise((resolve) => setTimeout(resolve, OPEN_MS))])

  return {
    dir,
    startedAt: Date.now(),
    stopRequested,
    requestStop: () => stop(),
    member() {
      if (member !== null) return member
      throw opening ? notReady() : noMesh()
    },
    init: (request) => enter(request, () => createMesh(components, request)),
    join: (request, report) => {
      const key = decodeMeshKey(request.key)
      return enter(request, () => joinMesh(components, key, request, report))
    },
    async leave(request, report) {
      if (member === null) throw opening ? notReady() : noMesh()
      const result = await leave(member, request, report)
      member = null
      await store.close()
      left = true
      await forget(dir)
      // After the answer is out.
      setImmediate(() => stop())
      return { ...result, pid: process.pid }
    },
    async close() {
      if (opening || left) return
      await member?.node.stop()
      await member?.mesh.close()
      await store.close()
    }
  }
}

const noMesh = (): BrumeError =>
  new BrumeError('NO_MESH', 'this node is in no mesh yet', {
    next: '`brume init` makes one, `brume join KEY` enters one'
  })

const notReady = (): BrumeError =>
  new BrumeError(
    'NOT_READY',
    'this node is still opening its store: it asks other members for a part of the view that is missing here',
    { next: 'let it meet another member, and try again' }
  )

/**
 * Before anything is written: an engine that was asked for must answer. With `auto` a Docker that
 * does not is worth a warning.
 */
async function checkEngine(choice: EngineChoice, node: string, dir: string): Promise<string[]> {
  try {
    const engine = await openEngine(choice, { mesh: '', node }, dir)
    await engine?.close()
    return []
  } catch (error) {
    if (choice !== 'auto') throw error
    return [`${sentenceOf(error)}; it is tried again, until then this node runs no containers`]
  }
}

/** Labels are an op of their own after admission: an operator's word, not the newcomer's. */
async function introduce(mesh: Mesh, labels: Record<string, string>): Promise<InitResult> {
  const { me } = mesh
  if (me === null) throw new BrumeError('NOT_A_MEMBER', 'no member has admitted this node yet')
  const warnings: string[] = []
  if (Object.keys(labels).length > 0) {
    if (me.role === 'admin' || me.role === 'operator') {
      await mesh.append([await nodeSet(mesh, me, { labels })])
    } else {
      warnings.push(
        `the labels were not set: this node is a ${me.role}, and labels are an operator's to give`
      )
    }
  }
  return {
    name: me.displayName,
    id: me.id,
    mesh: mesh.membership.paper.mesh,
    role: me.role,
    key: await keyIfAllowed(mesh),
    warnings
  }
}

async function keyIfAllowed(mesh: Mesh): Promise<string | null> {
  try {
    return await mesh.keyRing.show()
  } catch (error) {
    const may = error instanceof BrumeError && ['FORBIDDEN', 'KEY_ELSEWHERE'].includes(error.code)
    if (may) return null
    throw error
  }
}
