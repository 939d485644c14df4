/** Daemons as real processes on this machine, over a DHT of their own, to be killed. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { openSync, closeSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { EngineChoice, InitRequest, InitResult, NodeJson } from '../../apps/api.ts'
import { createClient, type Client } from '../../apps/client.ts'
import { startBootstrapNode } from '../../core/swarm.ts'
import { waitUntil } from '../helpers/wait.ts'

export interface TestDaemon {
  name: string
  dir: string
  client: Client
  /** Node id. */
  id: string
  /** Spawns it; does not wait until it answers. */
  start(): void
  /** Until it answers as a member. @throws after `ms`, or when it ended by itself */
  ready(ms?: number): Promise<void>
  /** SIGKILL; resolves once the process is gone. */
  kill(): Promise<void>
  /** The last lines of its log. */
  tail(): Promise<string>
}

export interface Daemons {
  nodes: TestDaemon[]
  mesh: string
  /** SIGKILLs every daemon and removes the files; what they run is the caller's to end. */
  close(): Promise<void>
}

const MAIN = fileURLToPath(new URL('../../apps/cli/main.ts', import.meta.url))
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** `n0`, `n1`, … that see each other alive. */
export async function startDaemons(
  n: number,
  { engine, env }: { engine: EngineChoice; env: Record<string, string> }
): Promise<Daemons> {
  const root = await mkdtemp(join(tmpdir(), 'brume-soak-'))
  const dht = await startBootstrapNode('127.0.0.1')
  const nodes = [...Array(n).keys()].map((i) => daemon(`n${i}`, join(root, `n${i}`), env))
  const close = async (): Promise<void> => {
    for (const node of nodes) await node.kill()
    await dht.close()
    await rm(root, { recursive: true, force: true })
  }
  try {
    let key = ''
    let mesh = ''
    for (const node of nodes) {
      node.start()
      await waitUntil(async () => (await node.client.hello()) !== null, 30_000)
      const request: Omit<InitRequest, 'defaultRole'> = {
        name: node.name,
        labels: {},
        engine,
        // They are in no namespace of their own: this machine's packet rules stay as they are.
        names: false,
        bootstrap: [dht.address],
        peers: []
      }
      const first = key === ''
      const result = await node.client.progress<InitResult>(
        first ? '/init' : '/join',
        first ? { ...request, defaultRole: 'admin' } : { ...request, key },
        () => {}
      )
      key ||= result.key ?? ''
      node.id = result.id
      mesh = result.mesh
    }
    for (const node of nodes) {
      await waitUntil(async () => {
        const seen = await node.client.get<NodeJson[]>('/nodes')
        return seen.length === n && seen.every(({ state }) => state === 'alive')
      }, 60_000)
    }
    return { nodes, mesh, close }
  } catch (error) {
    await close()
    throw error
  }
}

function daemon(name: string, dir: string, env: Record<string, string>): TestDaemon {
  let child: ChildProcess | null = null
  const client = createClient(dir)
  const node: TestDaemon = {
    name,
    dir,
    client,
    id: '',
    start() {
      const log = openSync(`${dir}.out`, 'a')
      try {
        child = spawn(process.execPath, ['--import', 'tsx', MAIN, 'daemon', '--data', dir], {
          cwd: ROOT,
          stdio: ['ignore', log, log],
          env: { ...process.env, BRUME_LOG_LEVEL: 'info', ...env }
        })
      } finally {
        closeSync(log)
      }
    },
    async ready(ms = 30_000) {
      await waitUntil(async () => {
        if (child !== null && child.exitCode !== null) {
          throw new Error(`${name} ended by itself with ${child.exitCode}, see ${dir}.out`)
        }
        return (await client.hello()) !== null
      }, ms)
      await client.get('/status')
    },
    async kill() {
      if (child === null || child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    },
    async tail() {
      const text = await readFile(join(dir, 'daemon.log'), 'utf8')
      return text.split('\n').slice(-30).join('\n')
    }
  }
  return node
}
