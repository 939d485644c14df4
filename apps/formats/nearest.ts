/** The member of `known` that `word` was probably meant to be, or null when none is close. */
export function nearest(word: string, known: readonly string[]): string | null {
  const wanted = plain(word)
  let best: string | null = null
  let bestDistance = Infinity
  for (const candidate of known) {
    const distance = distanceTo(wanted, plain(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  const allowed = Math.max(1, Math.floor(wanted.length / 3))
  return bestDistance <= allowed ? best : null
}

function plain(word: string): string {
  return word.slice(0, 64).toLowerCase().replaceAll(/[-_ ]/g, '')
}

/** `environment` for `env` counts as one step, although it is eight letters away. */
function distanceTo(a: string, b: string): number {
  const [short, long] = a.length < b.length ? [a, b] : [b, a]
  if (a !== b && short.length >= 3 && long.startsWith(short)) return 1
  return editDistance(a, b)
}

/** Insertions, deletions, replacements and swaps of neighbours from `a` to `b`. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + change)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (beforeLast[j - 2] ?? 0) + 1)
      }
      row.push(least)
    }
    beforeLast = last
    last = row
  }
  return last[b.length] ?? 0
}
