/** Live progress per replica on stderr: a table that is redrawn on a TTY, else a line a change. */
import type { WatchedReplica } from '../api.ts'
import { isUp } from './judge.ts'
import { age, oneLine, replicaName, stateColor, table, YELLOW, type Column } from './print.ts'
import type { Output } from './verb.ts'

export interface Progress {
  /** Shows the newest rows; draws only what differs from what is shown. */
  show(rows: WatchedReplica[], nowMs: number): void
  /** What happened, and why. */
  tell(text: string, nowMs: number): void
  /** Leaves the last picture on the screen; whatever is written next goes below it. */
  end(): void
  /** Takes the live picture off the screen, for a result that says the same and more. */
  clear(): void
}

export function createProgress(output: Output, startMs: number): Progress {
  return output.isTTY ? liveTable(output, startMs) : changeLines(output, startMs)
}

/** What a replica is at, in one word or two. */
function phase(row: WatchedReplica): string {
  if (row.wanted === null) return `${row.state} (old)`
  if (row.state !== 'running') return row.state
  if (row.revision !== row.wanted) return 'replacing'
  if (row.healthy === false) return 'unhealthy'
  return row.checked && row.healthy === null ? 'checking' : 'running'
}

interface Line {
  row: WatchedReplica
  elapsedMs: number
}

function liveTable(output: Output, startMs: number): Progress {
  const doneAt = new Map<string, number>()
  let drawn = ''
  let told = ''
  return {
    // The newest goes below the table, from the next look on.
    tell(text) {
      told = `${oneLine(text).slice(0, output.columns - 1)}\n`
    },
    show(rows, nowMs) {
      const lines = rows.map((row): Line => {
        const name = replicaName(row)
        if (!isUp(row)) doneAt.delete(name)
        else if (!doneAt.has(name)) doneAt.set(name, nowMs)
        return { row, elapsedMs: (doneAt.get(name) ?? nowMs) - startMs }
      })
      const picture = fit(table(lines, COLUMNS, output) + told, output)
      if (picture === drawn) return
      output.write(erase(drawn) + picture)
      drawn = picture
    },
    end() {
      drawn = ''
    },
    clear() {
      if (drawn !== '') output.write(erase(drawn))
      drawn = ''
    }
  }
}

const COLUMNS: Column<Line>[] = [
  { title: 'REPLICA', cell: ({ row }) => replicaName(row) },
  { title: 'NODE', cell: ({ row }) => row.node ?? '' },
  { title: 'PHASE', cell: ({ row }) => phase(row), color: phaseColor },
  { title: 'ELAPSED', cell: ({ elapsedMs }) => elapsed(elapsedMs) },
  {
    title: 'REASON',
    cell: ({ row }) => (isUp(row) ? '' : (row.reason ?? '')),
    whenAny: true
  }
]

/** Runs, but is not yet what was asked for: yellow, as all that is on its way. */
function phaseColor({ row }: Line): number | null {
  return row.state === 'running' && !isUp(row) ? YELLOW : stateColor(row)
}

/** A cursor cannot go up beyond the screen: what does not fit is counted instead. */
function fit(picture: string, output: Output): string {
  const lines = picture.split('\n').slice(0, -1)
  const room = Math.max(2, output.rows - 2)
  if (lines.length <= room) return picture
  const hidden = lines.length - room + 1
  return `${lines.slice(0, room - 1).join('\n')}\n… and ${hidden} more\n`
}

function erase(drawn: string): string {
  const height = drawn.split('\n').length - 1
  return height === 0 ? '' : `\x1b[${height}A\x1b[J`
}

function changeLines(output: Output, startMs: number): Progress {
  const shown = new Map<string, string>()
  return {
    tell(text, nowMs) {
      output.write(`${oneLine(text)} (${elapsed(nowMs - startMs)})\n`)
    },
    show(rows, nowMs) {
      for (const row of rows) {
        const where = row.node === null ? '' : ` on ${row.node}`
        const why = row.reason === null || isUp(row) ? '' : `: ${oneLine(row.reason)}`
        const line = `${replicaName(row)} ${phase(row)}${where}${why}`
        // A copy on its old node and the one on its new node are two lines of one slot.
        const key = `${replicaName(row)} ${row.wanted === null ? row.node : ''}`
        if (shown.get(key) === line) continue
        shown.set(key, line)
        output.write(`${line} (${elapsed(nowMs - startMs)})\n`)
      }
    },
    end() {},
    clear() {}
  }
}

/** `0.4s` while it is young, `12s`, then as `age` says it. */
function elapsed(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)}s`
  return ms < 120_000 ? `${Math.floor(ms / 1000)}s` : age(ms)
}
