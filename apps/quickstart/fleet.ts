/** The mesh as one of its nodes sees it, node by node: a live table on a terminal, else a line a change. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { NodeJson, ReplicaJson } from '../api.ts'
import { replicaName, table, type Column } from '../cli/print.ts'
import type { Output } from '../cli/verb.ts'
import type { Client } from '../client.ts'

export interface Fleet {
  nodes: NodeJson[]
  replicas: ReplicaJson[]
}

const LOOK_MS = 250

/**
 * Shows the mesh until `isDone` says so, and gives how it was then. `startMs` is what times are
 * counted from.
 *
 * @throws the signal's reason
 */
export async function watchFleet(
  client: Client,
  output: Output,
  isDone: (fleet: Fleet) => boolean,
  { signal, startMs }: { signal: AbortSignal; startMs: number }
): Promise<Fleet> {
  const show = output.isTTY ? liveTable(output) : changeLines(output)
  for (;;) {
    signal.throwIfAborted()
    const fleet = await look(client)
    show(fleet, performance.now() - startMs)
    if (isDone(fleet)) return fleet
    // Woken by the signal: said above.
    await sleep(LOOK_MS, null, { signal }).catch(() => signal.throwIfAborted())
  }
}

export async function look(client: Client): Promise<Fleet> {
  const [nodes, replicas] = await Promise.all([
    client.get<NodeJson[]>('/nodes'),
    client.get<ReplicaJson[]>('/replicas')
  ])
  return { nodes, replicas }
}

/** The address of each published port of what runs. */
export function addressesOf({ replicas }: Fleet): { replica: string; url: string }[] {
  return replicas
    .filter((replica) => replica.state === 'running')
    .flatMap((replica) =>
      replica.ports.map(({ host }) => ({
        replica: replicaName(replica),
        url: `http://127.0.0.1:${host}`
      }))
    )
}

type Show = (fleet: Fleet, elapsedMs: number) => void

function liveTable(output: Output): Show {
  let drawn = 0
  return (fleet, elapsedMs) => {
    const seconds = `${(elapsedMs / 1000).toFixed(0).padStart(3)} s`
    const picture = `${table(rowsOf(fleet), COLUMNS, output)}${output.color ? `\x1b[2m${seconds}\x1b[0m` : seconds}\n`
    const lines = picture.split('\n')
    // Line by line over what is there: no moment at which the screen is empty.
    output.write(`${drawn === 0 ? '' : `\x1b[${drawn}A`}${lines.join('\x1b[K\n')}\x1b[J`)
    drawn = lines.length - 1
  }
}

interface Row {
  node: string
  state: NodeJson['state'] | 'waiting'
  runs: string
}

const COLUMNS: Column<Row>[] = [
  { title: 'NODE', cell: ({ node }) => node },
  { title: 'STATE', cell: ({ state }) => state, color: ({ state }) => COLORS[state] },
  { title: 'RUNS', cell: ({ runs }) => runs }
]

const COLORS: Record<Row['state'], number | null> = {
  alive: 32,
  silent: 33,
  waiting: 33,
  pending: 33,
  lost: 31,
  gone: 31,
  removed: null
}

function rowsOf({ nodes, replicas }: Fleet): Row[] {
  const runs = (on: string | null): string =>
    replicas
      .filter(({ node }) => node === on)
      .map((replica) => `${replicaName(replica)} ${replica.state}`)
      .join(', ')
  const rows: Row[] = nodes.map(({ name, state }) => ({ node: name, state, runs: runs(name) }))
  const nowhere = runs(null)
  return nowhere === '' ? rows : [...rows, { node: '', state: 'waiting', runs: nowhere }]
}

function changeLines(output: Output): Show {
  let shown: Set<string> | null = null
  return ({ nodes, replicas }, elapsedMs) => {
    const lines = [
      ...nodes.map(({ name, state }) => `${name} is ${state}`),
      ...replicas.map((replica) => {
        const where = replica.node === null ? '' : ` on ${replica.node}`
        return `${replicaName(replica)} is ${replica.state}${where}`
      })
    ]
    // How it was at first was shown before.
    for (const line of lines) {
      if (shown?.has(line) === false) {
        output.write(`${(elapsedMs / 1000).toFixed(1).padStart(5)} s  ${line}\n`)
      }
    }
    shown = new Set(lines)
  }
}
