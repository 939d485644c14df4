/** What reaches the utility: the summaries it shows, a line each as they come. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Output } from '../cli/verb.ts'
import { waitLine } from './wait-line.ts'

/** As `apps/examples/smart-grid/office/utility.js` gives them at `/api/raw`, the oldest first. */
export interface Summary {
  /** Of the aggregator that counts: another one begins with 1 again. */
  from: string
  seq: number
  houses: number
  totalKw: number
  limitKw: number
  shed: boolean
  /** How long after its window it came, ms. */
  late: number
}

export interface Results {
  /**
   * Shows what comes until `isDone` says so of all there is, and gives that. `startMs` is what times
   * are counted from.
   *
   * @throws the signal's reason
   */
  watch(
    isDone: (summaries: Summary[]) => boolean,
    options: { signal: AbortSignal; startMs: number }
  ): Promise<Summary[]>
}

const LOOK_MS = 250
const ANSWERS_MS = 2_000

export function watchResults(url: string, output: Output): Results {
  const shown = new Set<string>()
  return {
    async watch(isDone, { signal, startMs }) {
      const wait = waitLine(output, startMs)
      try {
        for (;;) {
          signal.throwIfAborted()
          const summaries = await look(url)
          signal.throwIfAborted()
          const fresh = summaries.filter((one) => !shown.has(nameOf(one)))
          for (const one of fresh) shown.add(nameOf(one))
          wait.over(fresh.map((one) => lineOf(one, output)).join(''))
          if (isDone(summaries)) return summaries
          // Woken by the signal: said above.
          await sleep(LOOK_MS, null, { signal }).catch(() => signal.throwIfAborted())
        }
      } finally {
        wait.end()
      }
    }
  }
}

/** Seqs that one aggregator counted and the utility has not, between the first and the last it has. */
export function missing(summaries: Summary[], from: string): number[] {
  const seqs = summaries.filter((one) => one.from === from).map(({ seq }) => seq)
  const [first = 0] = seqs
  return Array.from({ length: (seqs.at(-1) ?? 0) - first }, (_, i) => first + i).filter(
    (seq) => !seqs.includes(seq)
  )
}

const nameOf = ({ from, seq }: Summary): string => `${from} #${seq}`

/** It may not listen yet, or no more: then there is nothing to see. */
async function look(url: string): Promise<Summary[]> {
  try {
    const response = await fetch(`${url}/api/raw`, { signal: AbortSignal.timeout(ANSWERS_MS) })
    return (await response.json()) as Summary[]
  } catch {
    return []
  }
}

/** A kilowatt is two wide. */
function lineOf(summary: Summary, { color }: Output): string {
  const { seq, houses, totalKw, limitKw, shed, late } = summary
  const bar = '▆'.repeat(Math.round(totalKw * 2)).padEnd(Math.round(limitKw * 2) + 6)
  const painted = color ? `\x1b[${shed ? ORANGE : GREEN}m${bar}\x1b[0m` : bar
  const words = [
    shed ? 'shedding' : '',
    late < LATE_MS ? '' : `${(late / 1000).toFixed(1)} s late`
  ].filter((word) => word !== '')
  const what = `${houses} ${houses === 1 ? 'house ' : 'houses'} ${totalKw.toFixed(2).padStart(5)} kW`
  return `${`#${seq}`.padStart(4)}  ${what}  ${painted} ${words.join(', ')}`.trimEnd() + '\n'
}

const LATE_MS = 1_000
const GREEN = 32
const ORANGE = 33
