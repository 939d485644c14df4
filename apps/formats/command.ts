import { Refusal, shown } from './refusal.ts'

const MOST_WORDS = 256
const LONGEST_WORD = 4096

/** A list of words, or one string that is split as a shell splits it, without expanding anything. */
export function readCommand(value: unknown, most = MOST_WORDS): string[] {
  const words = typeof value === 'string' ? splitWords(value) : readWords(value)
  if (words.length > most) {
    throw new Refusal(`expected at most ${most} words, got ${words.length}`)
  }
  const bad = words.findIndex((word) => word.length > LONGEST_WORD || word.includes('\0'))
  if (bad >= 0) {
    throw new Refusal(`expected words of at most ${LONGEST_WORD} characters, none of them NUL`, [
      bad
    ])
  }
  return words
}

function readWords(value: unknown): string[] {
  if (!Array.isArray(value)) {
    throw new Refusal(`expected a list of words or a string, got ${shown(value)}`)
  }
  return value.map((word: unknown, index) => {
    if (typeof word === 'string') return word
    if (typeof word === 'number' || typeof word === 'boolean') return String(word)
    throw new Refusal(`expected a word, got ${shown(word)}`, [index])
  })
}

/** Words as POSIX quoting makes them: '…' as it is, "…" with \" \\ \$ \`, and \x for any x. */
export function splitWords(text: string): string[] {
  const words: string[] = []
  let word: string | null = null
  let quote: '"' | "'" | null = null
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i)
    if (quote !== null) {
      if (char === quote) quote = null
      else if (quote === '"' && char === '\\' && '"\\$`\n'.includes(text.charAt(i + 1) || ' ')) {
        const escaped = text.charAt(++i)
        if (escaped !== '\n') word += escaped
      } else word += char
    } else if (char === '"' || char === "'") {
      quote = char
      word ??= ''
    } else if (char === '\\') {
      const escaped = text.charAt(++i)
      if (escaped === '') throw new Refusal(`nothing follows the last \\ of ${shown(text)}`)
      if (escaped !== '\n') word = (word ?? '') + escaped
    } else if (/[ \t\r\n]/.test(char)) {
      if (word !== null) words.push(word)
      word = null
    } else word = (word ?? '') + char
  }
  if (quote !== null) throw new Refusal(`a ${quote} is never closed in ${shown(text)}`)
  if (word !== null) words.push(word)
  return words
}
