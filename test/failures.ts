/**
 * What did not pass in a run of brittle, to be said once more where it ends: of a long log often
 * only the end is kept.
 */

export interface Failures {
  /** The next line of brittle's output. */
  read(line: string): void
  /**
   * The failed asserts as brittle printed them, each under its test; where the run `broke` off, its
   * last lines as well. At most LINES.
   */
  told(broke: boolean): string[]
}

const LINES = 400
/** How much is said of a run that broke off. */
const LAST = 12

export function createFailures(): Failures {
  const lines: string[] = []
  const last: string[] = []
  let test = ''
  let isTold = false
  let isOpen = false

  return {
    read(line) {
      last.push(line)
      if (last.length > LAST) last.shift()
      if (line.startsWith('# ')) {
        test = line
        isTold = false
      }
      if (/^\s*(not )?ok \d/.test(line)) isOpen = false
      if (/^\s+not ok \d/.test(line)) {
        if (!isTold) lines.push('', test)
        isTold = true
        isOpen = true
      }
      if (isOpen) lines.push(line)
      if (line.trim() === '...') isOpen = false
    },

    told(broke) {
      const all = broke ? [...lines, '', '# broke off after', ...last] : lines
      return all.length <= LINES ? all : [...all.slice(0, LINES), '# and more']
    }
  }
}
