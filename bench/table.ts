import type { Row } from './bench.ts'
import type { Durations } from './measure.ts'

/** Rows as lines of text in columns. */
export function table(rows: Row[]): string {
  const cells = [
    ['', 'measured', 'must be', ''],
    ...rows.map(({ what, measured, must }) => [
      what,
      measured,
      must?.be ?? '',
      must === null ? '' : must.holds ? 'holds' : 'DOES NOT HOLD'
    ])
  ]
  const widths = [0, 1, 2].map((i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)))
  const lines = cells.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '))
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`
}

export const spread = ({ p50Ms, p95Ms, n }: Durations): string =>
  `p50 ${p50Ms} ms, p95 ${p95Ms} ms, n ${n}`
