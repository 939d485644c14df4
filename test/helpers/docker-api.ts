import { request } from 'node:http'

/**
 * One bare call to Docker: `body` is sent as JSON; what comes back is parsed where it is JSON.
 * Tests and benches look at engines with it, past the code they test.
 */
export async function dockerApi(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  timeoutMs = 60_000
): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const headers = payload === undefined ? {} : { 'content-type': 'application/json' }
    const sent = request({ socketPath, method, path, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        const isJson = response.headers['content-type']?.includes('json') && text !== ''
        resolve({
          status: response.statusCode ?? 0,
          body: isJson ? parse(text) : text
        })
      })
    })
    sent.setTimeout(timeoutMs, () =>
      sent.destroy(new Error(`${method} ${path}: no answer within ${timeoutMs} ms`))
    )
    sent.on('error', reject)
    sent.end(payload)
  })
}

/** A stream of JSON lines stays text. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}
