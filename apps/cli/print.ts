/** How answers look to people. */
import type { ReplicaJson } from '../api.ts'
import type { Output } from './verb.ts'

export interface Column<Row> {
  title: string
  /** Text of the cell; empty shows as `-`. */
  cell: (row: Row) => string
  /** SGR number for this row's cell, e.g. 32 for green. */
  color?: (row: Row) => number | null
  /** The column is left out unless a row has something in it. */
  whenAny?: boolean
}

/** Lines of an aligned table; cut to the width of the terminal, if it is one. */
export function table<Row>(rows: Row[], columns: Column<Row>[], output: Output): string {
  const used = columns.filter((c) => c.whenAny !== true || rows.some((row) => c.cell(row) !== ''))
  const cells = rows.map((row) => used.map((c) => oneLine(c.cell(row)) || '-'))
  const widths = used.map((c, i) =>
    Math.max(c.title.length, ...cells.map((line) => lengthOf(line[i] ?? '')))
  )
  const width = output.isTTY ? output.columns : Infinity
  const header = layOut(
    used.map((c) => c.title),
    widths,
    used.map(() => null),
    width
  )
  const body = rows.map((row, r) => {
    const colors = used.map((c) => (output.color ? (c.color?.(row) ?? null) : null))
    return layOut(cells[r] ?? [], widths, colors, width)
  })
  return [header, ...body].map((line) => `${line}\n`).join('')
}

/** `name: value` lines, values under each other. */
export function pairs(entries: [string, string][]): string {
  const width = Math.max(...entries.map(([name]) => name.length)) + 1
  return entries
    .map(([name, value]) => `${`${name}:`.padEnd(width)}  ${oneLine(value) || '-'}\n`)
    .join('')
}

const UNITS: [string, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['week', 604_800],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1]
]

/**
 * `3 minutes`: in the greatest unit of which there are at least two, so that nothing is rounded by
 * more than half; below two seconds in seconds. Clocks that differ never give a negative age.
 */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  for (const [unit, size] of UNITS) {
    const count = Math.floor(seconds / size)
    if (count >= 2) return `${count} ${unit}s`
  }
  return seconds === 1 ? '1 second' : '0 seconds'
}

/** Age of an ISO 8601 time; empty where there is none. */
export function since(iso: string | null, now: number): string {
  if (iso === null) return ''
  const at = Date.parse(iso)
  return Number.isNaN(at) ? '' : age(now - at)
}

/** `8080->80/tcp`, docker's way round: the node's port first; `*:` where many nodes have it. */
export function ports(of: ReplicaJson['ports'], exposed: ReplicaJson['exposed']): string {
  return [
    ...of.map((p) => `${p.host}->${p.container}/${p.protocol}`),
    ...exposed.map((p) => `*:${p.port}->${p.to}/${p.protocol}`)
  ].join(', ')
}

/** Of its own, else of a port that is not open where it should be. */
function reason({ reason: own, exposed }: ReplicaJson): string {
  const wrong = exposed.find(({ problem }) => problem !== null)
  return own ?? (wrong === undefined ? '' : `port ${wrong.port} ${wrong.problem}`)
}

export const replicaName = (r: {
  application: string
  microservice: string
  slot: number
}): string => `${r.application}/${r.microservice}/${r.slot}`

export function replicaTable(rows: ReplicaJson[], output: Output, now: number): string {
  const columns: Column<ReplicaJson>[] = [
    { title: 'APPLICATION/MICROSERVICE/SLOT', cell: replicaName },
    { title: 'NODE', cell: (r) => r.node ?? '' },
    { title: 'STATE', cell: (r) => r.state, color: stateColor },
    { title: 'HEALTH', cell: (r) => health(r.healthy), color: healthColor },
    { title: 'SINCE', cell: (r) => since(r.since, now) },
    { title: 'PORTS', cell: (r) => ports(r.ports, r.exposed) },
    { title: 'IMAGE', cell: (r) => r.image ?? '' },
    { title: 'REASON', cell: reason, whenAny: true }
  ]
  return table(rows, columns, output)
}

const GREEN = 32
export const YELLOW = 33
const RED = 31

export function stateColor({ state }: { state: ReplicaJson['state'] }): number | null {
  if (state === 'running') return GREEN
  if (state === 'failed' || state === 'unknown') return RED
  return state === 'stopped' ? null : YELLOW
}

const health = (healthy: boolean | null): string =>
  healthy === null ? '' : healthy ? 'healthy' : 'unhealthy'

const healthColor = ({ healthy }: ReplicaJson): number | null =>
  healthy === null ? null : healthy ? GREEN : RED

const GAP = 3

function layOut(
  cells: string[],
  widths: number[],
  colors: (number | null)[],
  width: number
): string {
  let line = ''
  let at = 0
  for (const [i, cell] of cells.entries()) {
    const shown = cut(cell, width - at)
    const color = colors[i] ?? null
    line += color === null ? shown : `\x1b[${color}m${shown}\x1b[0m`
    if (shown !== cell || i === cells.length - 1) break
    const room = Math.min((widths[i] ?? 0) - lengthOf(cell) + GAP, width - at - lengthOf(cell))
    line += ' '.repeat(room)
    at += lengthOf(cell) + room
  }
  return line.trimEnd()
}

function cut(text: string, room: number): string {
  if (lengthOf(text) <= room) return text
  return room < 1 ? '' : `${[...text].slice(0, room - 1).join('')}…`
}

const lengthOf = (text: string): number => [...text].length

/** What another node wrote must not move our cursor. */
export const oneLine = (text: string): string =>
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim()
