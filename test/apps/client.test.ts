import { once } from 'node:events'
import net from 'node:net'
import { VERSION } from '../../apps/version.ts'
import test from 'brittle'
import { commandFor, createClient, withQuery } from '../../apps/client.ts'
import { withProgress } from '../../apps/daemon/socket.ts'
import { socketPath } from '../../apps/paths.ts'
import { BrumeError } from '../../core/errors.ts'
import { fakeDaemon, tempDir } from './cli/fake-daemon.ts'

test('client - JSON both ways, and the daemon’s own errors', async (t) => {
  const dir = await fakeDaemon(t, {
    'POST /echo': async ({ json }) => json<object>(),
    'DELETE /x': () => {
      throw new BrumeError('REF_NOT_FOUND', 'no x', { next: 'brume ps', exitCode: 3 })
    }
  })
  const client = createClient(dir)
  t.alike(await client.post('/echo', { ü: [1, null] }), { ü: [1, null] })
  const error = await rejection(client.delete('/x'))
  t.alike(
    [error.code, error.message, error.next, error.exitCode],
    ['REF_NOT_FOUND', 'no x', 'brume ps', 3]
  )
})

test('client - bytes arrive as they are', async (t) => {
  const bytes = Buffer.alloc(3_000_000, 7)
  const dir = await fakeDaemon(t, {
    'POST /bundles': async ({ body }) => {
      const chunks: Buffer[] = []
      for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk)
      return { same: Buffer.concat(chunks).equals(bytes) }
    }
  })
  t.alike(await createClient(dir).upload('/bundles', 'application/x-tar', bytes), { same: true })
})

test('client - no daemon: says for which directory, and what starts one', async (t) => {
  const dir = await tempDir(t)
  const error = await rejection(createClient(dir).get('/status'))
  t.is(error.code, 'DAEMON_NOT_RUNNING')
  t.is(error.message, `no brume daemon runs for ${dir}`)
  t.is(error.next, `brume up --data ${dir}`)
})

test('client - a data directory whose path is too long for a socket works all the same', async (t) => {
  const dir = `${await tempDir(t)}/${'d'.repeat(120)}`
  await fakeDaemon(t, { 'GET /status': () => ({ dir }) }, { dir })
  t.alike(await createClient(dir).get('/status'), { dir })
})

test('client - without permission: names the socket and the group', async (t) => {
  if (process.getuid?.() !== 0) return t.comment('needs root, who can become another user')
  const dir = await fakeDaemon(t, { 'GET /status': () => ({}) })
  process.seteuid?.(65534)
  t.teardown(() => process.seteuid?.(0), { order: -1 })
  const error = await rejection(createClient(dir).get('/status'))
  process.seteuid?.(0)
  t.is(error.code, 'DAEMON_FORBIDDEN')
  t.is(
    error.message,
    `no permission to talk to the daemon of ${dir}: its socket ${dir}/brume.sock is for its owner, or for root and the group brume`
  )
})

test('client - a daemon of another minor version is not talked to, but can be stopped', async (t) => {
  const dir = await fakeDaemon(
    t,
    { 'GET /status': () => ({}), 'POST /stop': () => ({ stopped: true }) },
    { version: '9.9.9' }
  )
  const client = createClient(dir, { version: '0.1.0' })
  const error = await rejection(client.get('/status'))
  t.is(error.code, 'DAEMON_VERSION')
  t.is(error.message, `the daemon of ${dir} is brume 9.9.9, this command is brume 0.1.0`)
  t.is(error.next, `brume down --data ${dir} && brume up --data ${dir}`)
  t.alike(await client.post('/stop', undefined, { anyVersion: true }), { stopped: true })
})

test('client - lines: objects in order, characters that are cut by a chunk stay whole', async (t) => {
  const line = 'ü'.repeat(50_000)
  const dir = await fakeDaemon(t, {
    'GET /logs': () => ({
      lines: (async function* () {
        for (let i = 0; i < 5; i++) yield { i, line }
      })()
    })
  })
  const seen: { i: number; line: string }[] = []
  for await (const x of createClient(dir).lines<{ i: number; line: string }>('/logs')) seen.push(x)
  t.alike(
    seen.map((x) => x.i),
    [0, 1, 2, 3, 4]
  )
  t.ok(seen.every((x) => x.line === line))
})

test('client - an error in the middle of lines is thrown after the lines before it', async (t) => {
  const dir = await fakeDaemon(t, {
    'GET /logs': () => ({
      lines: (async function* () {
        yield { i: 0 }
        throw new BrumeError('NODE_LOST', 'gone')
      })()
    })
  })
  const seen: unknown[] = []
  const error = await rejection(
    (async () => {
      for await (const x of createClient(dir).lines('/logs')) seen.push(x)
    })()
  )
  t.alike(seen, [{ i: 0 }])
  t.is(error.code, 'NODE_LOST')
})

test('client - progress is told, then the result given or the error thrown', async (t) => {
  const dir = await fakeDaemon(t, {
    'POST /init': () =>
      withProgress(async (report) => {
        report('one')
        report('two')
        return { name: 'pi' }
      }),
    'POST /join': () =>
      withProgress(async () => {
        throw new BrumeError('BAD_KEY', 'no')
      })
  })
  const client = createClient(dir)
  const told: string[] = []
  t.alike(await client.progress('/init', {}, (line) => told.push(line)), { name: 'pi' })
  t.alike(told, ['one', 'two'])
  t.is((await rejection(client.progress('/join', {}, () => {}))).code, 'BAD_KEY')
})

test('client - progress that ends without a result is DAEMON_LOST', async (t) => {
  const dir = await fakeDaemon(t, { 'POST /init': () => ({ events: (async function* () {})() }) })
  t.is((await rejection(createClient(dir).progress('/init', {}, () => {}))).code, 'DAEMON_LOST')
})

test('client - a daemon that dies mid-answer is DAEMON_LOST, never a quiet end', async (t) => {
  const dir = await raw(t, (socket) => {
    socket.end(
      `HTTP/1.1 200 OK\r\nbrume-version: ${VERSION}\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{"i":0}\n\r\n`
    )
  })
  const seen: unknown[] = []
  const error = await rejection(
    (async () => {
      for await (const x of createClient(dir).lines('/logs')) seen.push(x)
    })()
  )
  t.is(error.code, 'DAEMON_LOST')
  t.alike(seen, [{ i: 0 }])
})

test('client - a daemon that hangs is DAEMON_SILENT, before and in an answer', async (t) => {
  const head = `HTTP/1.1 200 OK\r\nbrume-version: ${VERSION}\r\ntransfer-encoding: chunked\r\n\r\n`
  for (const bytes of ['', `${head}8\r\n{"i":0}\n\r\n`]) {
    const dir = await raw(t, (socket) => void socket.write(bytes))
    const error = await rejection(createClient(dir).get('/status', { silentMs: 50 }))
    t.is(error.code, 'DAEMON_SILENT')
    t.is(error.exitCode, 3)
  }
})

test('client - an abort ends a watch', async (t) => {
  const dir = await fakeDaemon(t, {
    'GET /watch': ({ signal }) => ({
      events: (async function* () {
        yield { event: 'replicas', data: [] }
        await once(signal, 'abort')
      })()
    })
  })
  const stop = new AbortController()
  const events = createClient(dir).events('/watch', { signal: stop.signal })
  t.alike((await events.next()).value, { event: 'replicas', data: [] })
  stop.abort(new BrumeError('STOPPED', 'enough'))
  t.is((await rejection(events.next())).code, 'STOPPED')
})

test('client - the commands it proposes name the data directory unless it is the usual one', (t) => {
  t.is(commandFor('/a b', 'ps'), `brume ps --data '/a b'`)
  t.is(withQuery('/logs', { ref: 'a/b', tail: undefined }), '/logs?ref=a%2Fb')
  t.is(withQuery('/logs', {}), '/logs')
})

interface Teardown {
  teardown(fn: () => unknown): void
}

async function raw(t: Teardown, onRequest: (socket: net.Socket) => void): Promise<string> {
  const dir = await tempDir(t)
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    // The client leaving in the middle is what is tested.
    socket.on('error', () => {})
    socket.once('data', () => onRequest(socket))
  })
  server.listen(socketPath(dir))
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return dir
}

async function rejection(promise: Promise<unknown>): Promise<BrumeError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof BrumeError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
