import { once } from 'node:events'
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { join } from 'node:path'
import { spawn } from 'node:child_process'
import test from 'brittle'
import type { ErrorJson } from '../../../apps/api.ts'
import { serve, withProgress, type Route, type ServeOptions } from '../../../apps/daemon/socket.ts'
import { VERSION } from '../../../apps/version.ts'
import { BrumeError } from '../../../core/errors.ts'
import { tempDir } from '../cli/fake-daemon.ts'

test('socket - a route gets its params, query and body, and its value is the JSON of a 200', async (t) => {
  const path = await open(t, [
    {
      method: 'POST',
      path: '/things/:id',
      handle: async ({ params, query, json }) => ({
        id: params.id,
        q: query.get('q'),
        body: await json()
      })
    }
  ])
  const answer = await ask(path, 'POST', '/things/a%2Fb?q=1', '{"x":[1]}')
  t.is(answer.status, 200)
  t.is(answer.headers['brume-version'], VERSION)
  t.alike(answer.json, { id: 'a/b', q: '1', body: { x: [1] } })
})

test('socket - errors keep code, next step and exit code, and get a status', async (t) => {
  const fail = (code: string, exitCode?: number): Route => ({
    method: 'GET',
    path: `/${code}`,
    handle: async () => {
      throw new BrumeError(code, 'no', { next: 'do', ...(exitCode ? { exitCode } : {}) })
    }
  })
  const path = await open(t, [
    fail('REF_NOT_FOUND'),
    fail('NAME_TAKEN'),
    fail('ROLE_FORBIDDEN'),
    fail('BAD_KEY'),
    fail('WAITED', 3)
  ])
  const statuses: [string, number][] = [
    ['REF_NOT_FOUND', 404],
    ['NAME_TAKEN', 409],
    ['ROLE_FORBIDDEN', 403],
    ['BAD_KEY', 400],
    ['WAITED', 504]
  ]
  for (const [code, status] of statuses) {
    const answer = await ask(path, 'GET', `/${code}`)
    t.is(answer.status, status, code)
    const exitCode = code === 'WAITED' ? 3 : 1
    t.alike(answer.json, { error: { code, message: 'no', next: 'do', exitCode } })
  }
})

test('socket - an unknown error is INTERNAL in one sentence and logged with its stack', async (t) => {
  const logged: [object, string][] = []
  const cause = new TypeError('x is not a function')
  const route: Route = {
    method: 'GET',
    path: '/',
    handle: async () => {
      throw cause
    }
  }
  const log = { error: (fields: object, message: string) => void logged.push([fields, message]) }
  const path = await open(t, [route], { log })
  const answer = await ask(path, 'GET', '/')
  t.is(answer.status, 500)
  t.alike((answer.json as ErrorJson).error, {
    code: 'INTERNAL',
    message: 'the daemon failed at GET /: x is not a function',
    next: 'the daemon log in its data directory says where',
    exitCode: 1
  })
  t.alike(logged, [[{ err: cause }, 'GET / failed']])
})

test('socket - a path or method that is not there is a 404 that names it', async (t) => {
  const path = await open(t, [])
  const answer = await ask(path, 'DELETE', '/no/such')
  t.is(answer.status, 404)
  t.is((answer.json as ErrorJson).error.message, 'this daemon has no DELETE /no/such')
})

test('socket - a request that is not JSON or too large is refused, and the next one answered', async (t) => {
  const route: Route = { method: 'POST', path: '/', handle: async ({ json }) => json<object>() }
  const path = await open(t, [route])
  const broken = await ask(path, 'POST', '/', '{"a":')
  t.is(broken.status, 400)
  t.ok((broken.json as ErrorJson).error.message.startsWith('the request is not JSON: '))
  const large = await ask(path, 'POST', '/', `"${'x'.repeat(5 * 1024 * 1024)}"`)
  t.is(large.status, 413)
  t.is((large.json as ErrorJson).error.message, 'the request is larger than 4 MiB')
  t.is((await ask(path, 'POST', '/', '1')).json, 1)
})

test('socket - a handler that does not read a large body still gets its error through', async (t) => {
  const route: Route = {
    method: 'POST',
    path: '/',
    handle: async () => {
      throw new BrumeError('BUNDLE_TOO_LARGE', 'no')
    }
  }
  const path = await open(t, [route])
  const bytes = 8 * 1024 * 1024
  const socket = net.connect(path)
  // Writes everything before it reads anything, as a busy client may.
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject)
    socket.write(
      `POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${bytes}\r\n\r\n`
    )
    socket.write(Buffer.alloc(bytes), (error) => (error ? reject(error) : resolve()))
  })
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  t.ok(text.startsWith('HTTP/1.1 413 '), text)
})

test('socket - lines are one JSON each; a failure halfway is the last line', async (t) => {
  async function* lines(): AsyncGenerator<unknown> {
    yield { a: 1 }
    yield { a: 'two\nlines' }
    throw new BrumeError('NODE_LOST', 'the node went away')
  }
  const path = await open(t, [
    { method: 'GET', path: '/', handle: async () => ({ lines: lines() }) }
  ])
  const answer = await ask(path, 'GET', '/')
  t.is(answer.headers['content-type'], 'application/x-ndjson')
  t.is(
    answer.text,
    '{"a":1}\n{"a":"two\\nlines"}\n' +
      '{"error":{"code":"NODE_LOST","message":"the node went away","next":null,"exitCode":1}}\n'
  )
})

test('socket - progress comes in order, before the result or the error', async (t) => {
  const path = await open(t, [
    {
      method: 'POST',
      path: '/good',
      handle: async () =>
        withProgress(async (report) => {
          report('one')
          await Promise.resolve()
          report('two')
          return { ok: true }
        })
    },
    {
      method: 'POST',
      path: '/bad',
      handle: async () =>
        withProgress(async (report) => {
          report('one')
          throw new BrumeError('BAD_KEY', 'no')
        })
    }
  ])
  t.is(
    (await ask(path, 'POST', '/good')).text,
    'event: progress\ndata: {"message":"one"}\n\n' +
      'event: progress\ndata: {"message":"two"}\n\n' +
      'event: result\ndata: {"ok":true}\n\n'
  )
  t.is(
    (await ask(path, 'POST', '/bad')).text,
    'event: progress\ndata: {"message":"one"}\n\n' +
      'event: error\ndata: {"error":{"code":"BAD_KEY","message":"no","next":null,"exitCode":1}}\n\n'
  )
})

test('socket - a stream with nothing to say gives a sign of life', async (t) => {
  async function* never(signal: AbortSignal): AsyncGenerator<never> {
    await once(signal, 'abort')
  }
  const path = await open(
    t,
    [
      { method: 'GET', path: '/e', handle: async ({ signal }) => ({ events: never(signal) }) },
      { method: 'GET', path: '/l', handle: async ({ signal }) => ({ lines: never(signal) }) }
    ],
    { keepAliveMs: 10 }
  )
  t.is(await firstChunk(path, '/e'), ': \n\n')
  t.is(await firstChunk(path, '/l'), '\n')
})

test('socket - a client that does not read holds the source back', async (t) => {
  let given = 0
  async function* endless(): AsyncGenerator<string> {
    for (;;) {
      given++
      yield 'x'.repeat(64 * 1024)
    }
  }
  const path = await open(t, [
    { method: 'GET', path: '/', handle: async () => ({ lines: endless() }) }
  ])
  const request = http.get({ socketPath: path, path: '/' })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  let before = -1
  // The kernel's and node's own buffers fill first; then it stands still.
  while (before !== given) {
    before = given
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  t.ok(given < 200, `${given} given`)
  response.resume()
  while (given < before + 200) await new Promise((resolve) => setImmediate(resolve))
  t.pass('goes on when it reads')
  request.destroy()
})

test('socket - the signal aborts and the source is closed when the client goes', async (t) => {
  let closed: () => void = () => {}
  const ended = new Promise<void>((resolve) => (closed = resolve))
  async function* forever(signal: AbortSignal): AsyncGenerator<number> {
    try {
      yield 1
      await once(signal, 'abort')
    } finally {
      closed()
    }
  }
  const path = await open(t, [
    { method: 'GET', path: '/', handle: async ({ signal }) => ({ lines: forever(signal) }) }
  ])
  await firstChunk(path, '/')
  await ended
  t.pass('closed')
})

test('socket - close ends streams, removes the file and resolves', async (t) => {
  const path = join(await tempDir(t), 's.sock')
  async function* forever(signal: AbortSignal): AsyncGenerator<number> {
    yield 1
    await once(signal, 'abort')
  }
  const server = await serve(
    path,
    [{ method: 'GET', path: '/', handle: async ({ signal }) => ({ lines: forever(signal) }) }],
    { mode: 0o600, log: { error() {} } }
  )
  const request = http.get({ socketPath: path, path: '/' })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  const ended = once(response, 'end')
  await server.close()
  await ended
  t.absent(existsSync(path))
})

test('socket - it has the rights it was given', async (t) => {
  for (const mode of [0o600, 0o660]) {
    const path = await open(t, [], { mode })
    t.is(statSync(path).mode & 0o777, mode)
  }
})

test('socket - the file of a killed daemon is replaced, that of a running one is not', async (t) => {
  const path = join(await tempDir(t), 's.sock')
  await leaveStale(path)
  t.ok(statSync(path).isSocket())
  const server = await serve(path, [], { mode: 0o600, log: { error() {} } })
  t.teardown(() => server.close())
  const error = await rejection(serve(path, [], { mode: 0o600, log: { error() {} } }))
  t.is(error.code, 'ALREADY_RUNNING')
  t.is((await ask(path, 'GET', '/')).status, 404, 'the first still answers')
})

test('socket - a file or directory in its way is left alone and named', async (t) => {
  const dir = await tempDir(t)
  writeFileSync(join(dir, 'file'), 'precious')
  mkdirSync(join(dir, 'dir'))
  for (const name of ['file', 'dir']) {
    const path = join(dir, name)
    const error = await rejection(serve(path, [], { mode: 0o600, log: { error() {} } }))
    t.is(error.code, 'SOCKET_FAILED')
    t.ok(existsSync(path))
  }
})

interface Teardown {
  teardown(fn: () => unknown): void
}

async function open(
  t: Teardown,
  routes: Route[],
  options: Partial<ServeOptions> = {}
): Promise<string> {
  const path = join(await tempDir(t), 's.sock')
  const server = await serve(path, routes, { mode: 0o600, log: { error() {} }, ...options })
  t.teardown(() => server.close())
  return path
}

async function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: string
): Promise<{ status: number; headers: http.IncomingHttpHeaders; text: string; json: unknown }> {
  const request = http.request({ socketPath, method, path, agent: false })
  request.end(body)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  // Node writes an empty chunk after a large body, which may find the answered socket closed.
  request.on('error', () => {})
  let text = ''
  for await (const chunk of response) text += String(chunk)
  const isJson = response.headers['content-type'] === 'application/json'
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text,
    json: isJson ? (JSON.parse(text) as unknown) : null
  }
}

/** Then goes away. */
async function firstChunk(socketPath: string, path: string): Promise<string> {
  const request = http.get({ socketPath, path, agent: false })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const [chunk] = (await once(response, 'data')) as [Buffer]
  request.destroy()
  return chunk.toString()
}

async function leaveStale(path: string): Promise<void> {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'close')
  const socket = net.connect(path)
  // Rejects with ECONNREFUSED: nobody listens behind it.
  await once(socket, 'connect').then(
    () => {
      throw new Error('it lives')
    },
    () => {}
  )
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
