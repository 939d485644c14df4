/** Meshes of n nodes in this process, over a DHT of their own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Assert } from 'brittle'
import { createMesh as makeMesh, joinMesh, openMesh } from '../../core/enter.ts'
import { loadIdentity } from '../../core/identity.ts'
import { silent, type Logger } from '../../core/logger.ts'
import { decodeMeshKey } from '../../core/mesh-key.ts'
import type { Mesh, MeshComponents } from '../../core/mesh.ts'
import type { Operations } from '../../core/state/index.ts'
import type { State, Role } from '../../core/state/state.ts'
import { openStore } from '../../core/store.ts'
import { startBootstrapNode } from '../../core/swarm.ts'

export interface MeshNode {
  name: string
  dir: string
  mesh: Mesh
  /** Ends this node as a daemon's stop does; its directory stays. */
  stop(): Promise<void>
  /** Opens it again from its directory. */
  restart(): Promise<void>
}

export interface TestMesh {
  nodes: MeshNode[]
  bootstrap: string
  /** Lets one more in. */
  join(name: string, options?: { key?: string }): Promise<MeshNode>
}

export interface MeshTestOptions {
  defaultRole?: Role
  log?: Logger
  /** Another network than a DHT on loopback. */
  openSwarm?: NonNullable<MeshComponents['openSwarm']>
  /** What the version of a node knows, by its name. */
  operations?: (name: string) => Operations | undefined
}

/** `n` nodes that know each other; everything is taken down at the test's end. */
export async function createMesh(
  n: number,
  t: Assert,
  options: MeshTestOptions = {}
): Promise<TestMesh> {
  const dht = await startBootstrapNode('127.0.0.1')
  const bootstrap = [dht.address]
  const nodes: MeshNode[] = []
  const dirs: string[] = []
  t.teardown(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await dht.close()
    await Promise.all(dirs.map((dir) => rm(dir, { recursive: true, force: true })))
  })

  const add = async (
    name: string,
    enter: (components: MeshComponents) => Promise<Mesh>
  ): Promise<MeshNode> => {
    const dir = await mkdtemp(join(tmpdir(), 'brume-test-'))
    dirs.push(dir)
    const open = async (
      how: (components: MeshComponents) => Promise<Mesh>
    ): Promise<[Mesh, () => Promise<void>]> => {
      const store = await openStore(dir)
      const identity = await loadIdentity(dir)
      const { openSwarm, log = silent } = options
      const known = options.operations?.(name)
      const mesh = await how({
        dir,
        store,
        identity,
        log,
        ...(openSwarm === undefined ? {} : { openSwarm }),
        ...(known === undefined ? {} : { operations: known })
      }).catch(async (error: unknown) => {
        await store.close()
        throw error
      })
      return [
        mesh,
        async () => {
          await mesh.close()
          await store.close()
        }
      ]
    }
    let [mesh, close] = await open(enter)
    let stopped = false
    const node: MeshNode = {
      name,
      dir,
      mesh,
      async stop() {
        if (stopped) return
        stopped = true
        await close()
      },
      async restart() {
        await node.stop()
        ;[mesh, close] = await open(async (components) => {
          const reopened = await openMesh(components)
          if (reopened === null) throw new Error(`${name} is in no mesh`)
          return reopened
        })
        stopped = false
        node.mesh = mesh
      }
    }
    nodes.push(node)
    return node
  }

  const first = await add('n0', (components) =>
    makeMesh(components, {
      name: 'n0',
      bootstrap,
      peers: [],
      defaultRole: options.defaultRole ?? 'admin'
    })
  )
  const mesh: TestMesh = {
    nodes,
    bootstrap: dht.address,
    async join(name, { key } = {}) {
      const meshKey = decodeMeshKey(key ?? (await first.mesh.keyRing.show()))
      const options = { name, bootstrap, peers: [] }
      return add(name, (components) => joinMesh(components, meshKey, options, () => {}))
    }
  }
  for (let i = 1; i < n; i++) await mesh.join(`n${i}`)
  return mesh
}

/** Resolves once `holds` does for the node's state; looks again on every change. */
export function untilState(
  { mesh }: { mesh: Mesh },
  holds: (state: State) => boolean,
  ms = 20_000
): Promise<State> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (!holds(mesh.state)) return
      done()
      resolve(mesh.state)
    }
    const done = (): void => {
      clearTimeout(timer)
      mesh.off('view', look)
    }
    const timer = setTimeout(() => {
      done()
      reject(new Error(`the state did not come in ${ms} ms`))
    }, ms)
    mesh.on('view', look)
    look()
  })
}

/** Resolves once `holds` does, asked again on links, gossip and view. */
export function untilMesh(
  { mesh }: { mesh: Mesh },
  holds: (mesh: Mesh) => boolean,
  ms = 20_000
): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (!holds(mesh)) return
      done()
      resolve()
    }
    const events = ['view', 'gossip', 'peers'] as const
    const done = (): void => {
      clearTimeout(timer)
      for (const event of events) mesh.off(event, look)
    }
    const timer = setTimeout(() => {
      done()
      reject(new Error(`it did not come in ${ms} ms`))
    }, ms)
    for (const event of events) mesh.on(event, look)
    look()
  })
}
