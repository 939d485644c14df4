import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

/**
 * Lines of a stream of UTF-8 bytes. INVARIANT: it comes to an end whenever the stream does, also one
 * that was over or cut before anybody read it, for which `node:readline` waits for ever.
 *
 * @throws what the stream is destroyed with, and where it is cut short
 */
export async function* linesOf(stream: Readable): AsyncGenerator<string, void> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const lines = (rest + decoder.write(chunk)).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}
