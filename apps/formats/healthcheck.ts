import { readCommand } from './command.ts'
import { Refusal, shown } from './refusal.ts'

const MOST_WORDS = 64
const FORMS = '[CMD, program, …], [CMD-SHELL, line], [NONE] or a line for the shell'

/** What to run to learn whether a container is healthy; null where the file says [NONE]. */
export function readHealthTest(value: unknown): { command: string[]; shell: boolean } | null {
  if (typeof value === 'string') {
    if (value.trim() === '') throw new Refusal(`expected ${FORMS}, got ${shown(value)}`)
    return { command: readCommand([value]), shell: true }
  }
  if (!Array.isArray(value)) throw new Refusal(`expected ${FORMS}, got ${shown(value)}`)
  const [form, ...words] = readCommand(value, MOST_WORDS + 1)
  if (form === 'NONE' && words.length === 0) return null
  if (form === 'CMD' && words.length > 0) return { command: words, shell: false }
  if (form === 'CMD-SHELL' && words.length === 1) return { command: words, shell: true }
  throw new Refusal(`expected ${FORMS}, got a list that begins with ${shown(form)}`)
}
