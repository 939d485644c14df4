/** Answers of Docker that are read as they come. */
import type { IncomingMessage } from 'node:http'
import { finished, pipeline } from 'node:stream'
import { BrumeError } from '../../../core/errors.ts'
import type { LogLine } from '../engine.ts'
import { demultiplexer } from './demux.ts'

/** What `collect` keeps of a command's output. */
const OUTPUT_CHARS = 64 * 1024

/** Reads a stream of progress to its end; an error in it is thrown as a refusal. */
export async function drainProgress(response: NodeJS.ReadableStream): Promise<void> {
  await eachJson(response, (value) => {
    const { error } = value as { error?: string }
    if (error) throw Object.assign(new Error(error), { statusCode: 500 })
  })
}

/** Calls back with every JSON line until the stream ends. Rejects if it breaks off. */
export async function eachJson(
  response: NodeJS.ReadableStream,
  onValue: (value: unknown) => void
): Promise<void> {
  let rest = ''
  response.setEncoding('utf8')
  for await (const chunk of response) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.trim() !== '') onValue(JSON.parse(line))
  }
  if (rest.trim() !== '') onValue(JSON.parse(rest))
}

/** What a command says on both its streams, till they end. @throws BrumeError EXEC_TIMEOUT */
export async function collect(
  response: IncomingMessage,
  timeoutMs: number,
  doing: string
): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines = demultiplexer()
    let output = ''
    const timer = setTimeout(() => {
      const error = new BrumeError('EXEC_TIMEOUT', `no end within ${timeoutMs} ms: ${doing}`)
      lines.destroy(error)
    }, timeoutMs)
    lines.on('data', ({ line }: LogLine) => {
      if (output.length < OUTPUT_CHARS) output += `${line}\n`.slice(0, OUTPUT_CHARS)
    })
    finished(lines, (error) => {
      clearTimeout(timer)
      if (error) reject(error)
      else resolve(output)
    })
    pipeline(response, lines, () => undefined)
  })
}
