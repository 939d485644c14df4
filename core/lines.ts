import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

/**
 * Lines of a stream of UTF-8 bytes. INVARIANT: it comes to an end whenever the stream does, also one
 * that was over or cut before anybody read it, for which `node:readline` waits for ever.
 *
 * @throws what the stream is destroyed with, and where it is cut short
 */
export async function* linesOf(stream: Readable): AsyncGenerator<string, void> {
  yield* splitLines(decoded(stream as AsyncIterable<Buffer>))
}

/** A letter that is cut in two comes with its second half. */
export async function* decoded(bytes: AsyncIterable<Buffer>): AsyncGenerator<string, void> {
  const decoder = new StringDecoder('utf8')
  for await (const chunk of bytes) yield decoder.write(chunk)
}

/** The last one needs no end. */
export async function* splitLines(chunks: AsyncIterable<string>): AsyncGenerator<string, void> {
  let rest = ''
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}
