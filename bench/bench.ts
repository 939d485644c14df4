/** What a bench is. One file a question; `main.ts` runs one of them. */

export interface Bench<Result> {
  /** What it asks, in one line. */
  question: string
  run(options: BenchOptions, during: During): Promise<Result>
  /** For people: what was measured, beside what must hold. */
  rows(result: Result): Row[]
}

export interface BenchOptions {
  /** How often; null for the bench's own number. */
  runs: number | null
  /** Of `idle`, `death`, `links` and `back`. */
  minutes: number
  /** Of `links`. */
  nodes?: number | undefined
}

export interface During {
  /** A line on stderr. */
  say: (line: string) => void
  /** Taken down when the bench ends, the last first, however it ends. */
  teardown: (fn: () => unknown) => void
}

export interface Row {
  what: string
  measured: string
  /** What must hold and whether it does; null where nothing is asked. */
  must: { be: string; holds: boolean } | null
}

export const declare = <Result>(bench: Bench<Result>): Bench<Result> => bench
