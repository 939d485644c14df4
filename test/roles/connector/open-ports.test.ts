/** Real sockets from outside to real servers, as replicas would be; between them the doors. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import tls from 'node:tls'
import { promisify } from 'node:util'
import test, { type Assert } from 'brittle'
import { BrumeError } from '../../../core/errors.ts'
import { endedWell, join } from '../../../core/flow-stream.ts'
import type { OpenPort, Rule } from '../../../roles/connector/exposed.ts'
import { OpenPorts, type OpenPortsComponents } from '../../../roles/connector/open-ports.ts'
import { closeOf, waitUntil } from '../../helpers/wait.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }

const rule = (microservice: string, over: Partial<Rule> = {}): Rule => ({
  application: 'app',
  microservice,
  to: 80,
  host: null,
  path: null,
  tls: null,
  ...over
})

interface Serving {
  ports: OpenPorts
  port: number
  /** Ports of servers in place of replicas, by microservice; what is not here has none. */
  replicas: Map<string, number>
  /** Flows that did not end well. */
  resets: number
  set(rules: Rule[], over?: Partial<OpenPort>): ReturnType<OpenPorts['set']>
}

async function serving(
  t: Assert,
  times: Partial<Pick<OpenPortsComponents, 'drainMs' | 'headMs'>> = {}
): Promise<Serving> {
  const replicas = new Map<string, number>()
  const ports = new OpenPorts({
    address: '127.0.0.1',
    ...times,
    log,
    async open({ microservice }) {
      const port = replicas.get(microservice)
      if (port === undefined) throw new BrumeError('NO_REPLICA', 'there is none')
      const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      socket.on('error', () => {})
      await once(socket, 'connect').catch(() => {
        throw new BrumeError('NODE_UNREACHABLE', 'it is gone')
      })
      socket.once('close', () => {
        if (!endedWell(socket)) it.resets++
      })
      return (client) => join(client, socket)
    }
  })
  t.teardown(() => ports.close())
  const port = await freePort()
  const it: Serving = {
    ports,
    port,
    replicas,
    resets: 0,
    set: (rules, over = {}) => ports.set([{ port, protocol: 'http', tls: false, rules, ...over }])
  }
  return it
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function replica(
  t: Assert,
  { replicas }: Serving,
  name: string,
  answer: http.RequestListener
): Promise<http.Server> {
  const server = http.createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  replicas.set(name, (server.address() as AddressInfo).port)
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return server
}

interface Answer {
  status: number
  headers: http.IncomingHttpHeaders
  body: string
}

async function get(
  port: number,
  options: http.RequestOptions & { body?: string } = {}
): Promise<Answer> {
  const request = http.request({ port, host: '127.0.0.1', agent: false, ...options })
  request.end(options.body)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const body = await text(response)
  return { status: response.statusCode ?? 0, headers: response.headers, body }
}

const code = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: NodeJS.ErrnoException) => error.code ?? error.message
  )

/** What the raw bytes are answered with, until the connection ends. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = net.connect({ port, host: '127.0.0.1' })
  socket.write(bytes)
  return await text(socket)
}

test('open ports - a request goes where its host and path lead, and nobody else is told', async (t) => {
  const it = await serving(t)
  for (const name of ['all', 'api', 'shop']) {
    await replica(t, it, name, (request, response) => {
      const { host, 'x-forwarded-for': by, 'x-forwarded-host': asked } = request.headers
      const proto = request.headers['x-forwarded-proto']
      response.setHeader('x-own', name)
      response.end([name, request.url, host, by, proto, asked].join(' '))
    })
  }
  t.alike(
    await it.set([rule('all'), rule('api', { path: '/api' }), rule('shop', { host: '*.x.y' })]),
    []
  )
  const at = `127.0.0.1:${it.port}`
  const rest = `${at} 127.0.0.1 http ${at}`
  t.is((await get(it.port)).body, `all / ${rest}`)
  t.is((await get(it.port, { path: '/api/v1?q=/x' })).body, `api /api/v1?q=/x ${rest}`)
  t.is((await get(it.port, { path: '/apis' })).body, `all /apis ${rest}`)
  t.is((await get(it.port, { path: '/api/../x' })).body, `all /api/../x ${rest}`)
  const posed = { 'x-forwarded-for': '6.6.6.6', 'X-Forwarded-Proto': 'https', forwarded: 'for=6' }
  const shop = await get(it.port, { headers: { host: 'A.x.y', ...posed }, path: '/api' })
  t.is(shop.body, 'shop /api A.x.y 127.0.0.1 http A.x.y', 'nobody poses as somebody else')
  t.is(shop.headers['x-own'], 'shop')

  await it.set([rule('api', { path: '/api' })])
  const none = await get(it.port, { path: '/' })
  t.is(none.status, 404)
  t.is(none.body, 'nothing is exposed here for this host and path\n')
  t.is((await get(it.port, { path: '/api' })).status, 200, 'the port stayed open')
  t.ok(
    (await raw(it.port, 'GET http://x/api HTTP/1.1\r\nHost: x\r\n\r\n')).startsWith('HTTP/1.1 400')
  )
})

test('open ports - bodies of any length go both ways, with length and without', async (t) => {
  const it = await serving(t)
  await replica(t, it, 'web', (request, response) => {
    const hash = createHash('sha256')
    let length = 0
    request.on('data', (chunk: Buffer) => {
      hash.update(chunk)
      length += chunk.length
    })
    request.on('end', () => {
      const { 'transfer-encoding': coded, 'content-length': given } = request.headers
      response.setHeader('x-came', `${request.method} ${coded ?? '-'} ${given ?? '-'} ${length}`)
      if (request.url === '/echo') return void response.end(hash.digest('hex'))
      // Without a length: chunked.
      for (let i = 0; i < 300; i++) response.write(Buffer.alloc(64 * 1024, i))
      response.end()
    })
  })
  await it.set([rule('web')])
  const body = 'x'.repeat(20_000_000)
  const hash = createHash('sha256').update(body).digest('hex')
  const chunked = {
    method: 'PUT',
    path: '/echo',
    body,
    headers: { 'transfer-encoding': 'chunked' }
  }
  const put = await get(it.port, chunked)
  t.is(put.body, hash)
  t.is(put.headers['x-came'], `PUT chunked - ${body.length}`)
  const headers = { 'content-length': body.length, connection: 'content-length' }
  const post = await get(it.port, { method: 'POST', path: '/echo', body, headers })
  t.is(post.body, hash)
  t.is(post.headers['x-came'], `POST - ${body.length} ${body.length}`)
  for (const [method, came] of [
    ['POST', 'POST - 0 0'],
    ['GET', 'GET - - 0'],
    ['DELETE', 'DELETE - - 0']
  ]) {
    t.is((await get(it.port, { method, path: '/echo' })).headers['x-came'], came)
  }
  t.is((await get(it.port, { path: '/large' })).body.length, 300 * 64 * 1024)
  const head = await get(it.port, { method: 'HEAD', path: '/echo' })
  t.is(head.status, 200)
  t.is(head.body, '')
  t.is(it.resets, 0)
})

test('open ports - a connection is kept for further requests, each finds its own replica', async (t) => {
  const it = await serving(t)
  for (const name of ['one', 'two']) {
    await replica(t, it, name, (_, response) => response.end(name))
  }
  await it.set([rule('one'), rule('two', { path: '/two' })])
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  let connections = 0
  const count = (socket: net.Socket): number => (connections = socket.localPort ?? 0)
  const seen = new Set<number>()
  for (const [path, body] of [
    ['/', 'one'],
    ['/two', 'two'],
    ['/', 'one']
  ]) {
    const request = http.get({ port: it.port, host: '127.0.0.1', agent, path })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    seen.add(count(response.socket))
    t.is(await text(response), body)
  }
  t.is(seen.size, 1)
  t.ok(connections > 0)
})

test('open ports - who serves nothing is said: no replica, out of reach, no answer, cut short', async (t) => {
  const it = await serving(t)
  await it.set([rule('none'), rule('gone', { path: '/gone' }), rule('bad', { path: '/bad' })])
  const none = await get(it.port)
  t.is(none.status, 503)
  t.is(none.body, 'no replica of app/none is up and healthy now\n')
  it.replicas.set('gone', await freePort())
  t.is((await get(it.port, { path: '/gone' })).status, 502)
  const liar = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.end('this is no HTTP\r\n\r\n')
  })
  liar.listen(0, '127.0.0.1')
  await once(liar, 'listening')
  t.teardown(() => liar.close())
  it.replicas.set('bad', (liar.address() as AddressInfo).port)
  const bad = await get(it.port, { path: '/bad', method: 'POST', body: 'x'.repeat(100_000) })
  t.is(bad.status, 502)
  t.is(bad.body, 'app/bad did not answer\n')

  await replica(t, it, 'none', (_, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('half', () => response.destroy())
  })
  t.is(await code(get(it.port)), 'ECONNRESET', 'half an answer is no whole one')
})

test('open ports - who goes away is not served any further', async (t) => {
  const it = await serving(t)
  let closed = 0
  await replica(t, it, 'web', (request, response) => {
    response.once('close', () => closed++)
    response.write('begun')
    request.resume()
  })
  await it.set([rule('web')])
  const request = http.get({ port: it.port, host: '127.0.0.1', agent: false })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  await once(response, 'data')
  request.destroy()
  await waitUntil(() => closed === 1)
  t.pass()
})

test('open ports - websockets pass, other upgrades do not', async (t) => {
  const it = await serving(t)
  const server = await replica(t, it, 'web', (request, response) => {
    response.end(`plain ${request.headers.upgrade ?? '-'} ${request.headers.connection}`)
  })
  server.on('upgrade', (request: http.IncomingMessage, socket: net.Socket, head: Buffer) => {
    socket.on('error', () => {})
    if (request.url === '/no') return socket.end('HTTP/1.1 401 Unauthorized\r\n\r\nsecret')
    const key = request.headers['sec-websocket-key']
    socket.write(
      `HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Key: ${key}\r\n\r\n`
    )
    socket.write(head)
    socket.pipe(socket)
  })
  await it.set([rule('web'), rule('none', { path: '/none' })])
  const connect = (path: string): http.ClientRequest => {
    const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'k' }
    return http.get({ port: it.port, host: '127.0.0.1', agent: false, headers, path })
  }
  const request = connect('/')
  const [response, socket] = (await once(request, 'upgrade')) as [http.IncomingMessage, net.Socket]
  t.is(response.headers['x-key'], 'k')
  const large = Buffer.alloc(3_000_000, 7)
  socket.end(large)
  t.is((await text(socket)).length, large.length)

  for (const [path, status] of [
    ['/no', 401],
    ['/none', 503]
  ] as const) {
    const refused = connect(path)
    const [answer] = (await once(refused, 'response')) as [http.IncomingMessage]
    t.is(answer.statusCode, status)
    t.is(answer.headers.connection, 'close', 'nothing more goes to that replica')
    t.ok((await text(answer)).length > 5)
  }
  const h2c = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n'
  const plain = await raw(it.port, `GET / HTTP/1.1\r\nHost: x\r\n${h2c}\r\n`)
  t.ok(plain.startsWith('HTTP/1.1 200') && plain.includes('plain - close'), plain)
  const body = await raw(it.port, `POST / HTTP/1.1\r\nHost: x\r\n${h2c}Content-Length: 1\r\n\r\nx`)
  t.ok(body.startsWith('HTTP/1.1 501'), body)
})

test('open ports - what is not framed as it says comes to nobody', async (t) => {
  const it = await serving(t)
  let asked = 0
  await replica(t, it, 'web', (_, response) => {
    asked++
    response.end('served')
  })
  await it.set([rule('web')])
  const smuggled = 'GET /x HTTP/1.1\r\nHost: x\r\n\r\n'
  for (const lines of [
    `Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    `Content-Length: 0\r\nContent-Length: 30\r\n\r\n${smuggled}`,
    `Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`
  ]) {
    const answer = await raw(it.port, `POST / HTTP/1.1\r\nHost: x\r\n${lines}`)
    t.ok(answer.startsWith('HTTP/1.1 400'), answer.slice(0, 40))
  }
  const many = `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`
  t.ok((await raw(it.port, many)).startsWith('HTTP/1.1 431'))
  t.is(asked, 0)
})

test('open ports - who sends its head a byte at a time is not waited for, and holds up nobody', async (t) => {
  const it = await serving(t, { headMs: 500 })
  await replica(t, it, 'web', (_, response) => response.end('served'))
  await it.set([rule('web')])
  const slow = net.connect({ port: it.port, host: '127.0.0.1' })
  slow.on('error', () => {})
  const dripping = setInterval(() => slow.write('x'), 100)
  t.teardown(() => clearInterval(dripping))
  slow.write('GET / HTTP/1.1\r\n')
  const since = performance.now()
  const said = text(slow).catch(() => '')
  t.is((await get(it.port)).body, 'served')
  t.ok((await said).startsWith('HTTP/1.1 408'))
  t.ok(performance.now() - since >= 500)
})

test('open ports - tcp goes to whoever takes it, half open as it came; with nobody there it is reset', async (t) => {
  const it = await serving(t)
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    let all = ''
    socket.on('data', (chunk) => (all += String(chunk)))
    socket.once('end', () => socket.end(`heard ${all}`))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  it.replicas.set('web', (server.address() as AddressInfo).port)
  await it.set([rule('web')], { protocol: 'tcp' })
  const socket = net.connect({ port: it.port, host: '127.0.0.1', allowHalfOpen: true })
  socket.end('hello')
  t.is(await text(socket), 'heard hello')
  it.replicas.clear()
  const other = net.connect({ port: it.port, host: '127.0.0.1' })
  t.is(await code(text(other)), 'ECONNRESET')
})

test('open ports - a port that another program has is said, and opened once it is free', async (t) => {
  const it = await serving(t)
  await replica(t, it, 'web', (_, response) => response.end('served'))
  const other = net.createServer().listen(it.port, '127.0.0.1')
  await once(other, 'listening')
  const [fault, ...more] = await it.set([rule('web'), rule('web', { path: '/x' })])
  t.is(fault?.problem, `another program has port ${it.port}`)
  t.is(fault?.open, false)
  t.is(more.length, 1, 'of each that wants it')
  other.close()
  await once(other, 'close')
  t.alike(await it.set([rule('web')]), [])
  t.is((await get(it.port)).body, 'served')
  t.alike(await it.set([rule('web')], { protocol: 'tcp' }), [], 'and opened anew as another kind')
})

test('open ports - closed, nobody comes in any more; what is under way has its time, then ends', async (t) => {
  const it = await serving(t, { drainMs: 300 })
  let respond = (): void => undefined
  await replica(t, it, 'web', (request, response) => {
    response.write('begun')
    respond = () => response.end(' and done')
    request.resume()
  })
  await it.set([rule('web')])
  const begin = async (): Promise<http.IncomingMessage> => {
    const request = http.get({ port: it.port, host: '127.0.0.1', agent: false })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    return response
  }
  const first = await begin()
  await it.ports.set([])
  t.is(await code(get(it.port)), 'ECONNREFUSED')
  respond()
  t.is(await text(first), 'begun and done')
  await it.set([rule('web')])
  const second = await begin()
  await it.ports.set([])
  t.is(await code(text(second)), 'ECONNRESET', 'its time is over')
  await it.set([rule('web')])
  const third = await begin()
  it.ports.close()
  t.is(await code(text(third)), 'ECONNRESET', 'at once')
})

test('open ports - TLS by files of this node: by name, renewed, and closed where they are no good', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'brume-tls-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const file = (name: string): { cert: string; key: string } => ({
    cert: path.join(dir, `${name}.crt`),
    key: path.join(dir, `${name}.key`)
  })
  const it = await serving(t)
  await replica(t, it, 'web', ({ headers }, response) => {
    response.end(['served', headers['x-forwarded-proto']].join(' '))
  })
  const rules = [
    rule('web', { tls: file('all') }),
    rule('web', { host: 'a.example', tls: file('a') })
  ]
  const all = async (): Promise<(string | boolean)[]> =>
    (await it.set(rules, { tls: true })).flatMap(({ problem, open }) => [problem, open])
  t.alike(await all(), [
    ...[`there is no ${file('all').cert}`, false],
    ...[`there is no ${file('a').cert}`, false]
  ])
  t.is(await code(get(it.port)), 'ECONNREFUSED')

  await certify(file('a'), 'a.example')
  t.alike(await all(), [`there is no ${file('all').cert}`, false], 'open for who has one')
  await certify(file('all'), 'all.example')
  t.alike(await all(), [])
  const ask = async (servername: string, host = servername): Promise<string> => {
    const options = { port: it.port, host: '127.0.0.1', servername, rejectUnauthorized: false }
    const request = https.get({ ...options, agent: false, headers: { host } })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    const { subject } = (response.socket as tls.TLSSocket).getPeerCertificate()
    return [subject.CN, await text(response)].join(' ')
  }
  t.is(await ask('a.example'), 'a.example served https')
  t.is(await ask('other.example'), 'all.example served https')
  t.is((await get(it.port).catch(() => ({ status: 0 }))).status, 0, 'not without')

  await certify(file('a'), 'renewed.example')
  t.alike(await all(), [])
  t.is(await ask('a.example'), 'renewed.example served https')
  await writeFile(file('a').key, 'no key')
  const [problem, open] = await all()
  t.is(
    problem,
    `${file('a').key} is no key for ${file('a').cert}: the certificate of before is used`
  )
  t.is(open, true)
  t.is(await ask('a.example'), 'renewed.example served https')
  await writeFile(file('all').cert, 'root:x:0:0')
  t.ok((await all())[0]?.toString().startsWith(`${file('all').cert} holds no certificate`))
})

test('open ports - TLS of tcp is taken off here', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'brume-tls-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const pair = { cert: path.join(dir, 'x.crt'), key: path.join(dir, 'x.key') }
  await certify(pair, 'x.example')
  const it = await serving(t)
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.once('data', (chunk) => {
      if (String(chunk) === 'reset') socket.resetAndDestroy()
      else socket.end(`heard ${String(chunk)}`)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  it.replicas.set('web', (server.address() as AddressInfo).port)
  t.alike(await it.set([rule('web', { tls: pair })], { protocol: 'tcp', tls: true }), [])
  const connect = (): tls.TLSSocket =>
    tls.connect({ port: it.port, host: '127.0.0.1', rejectUnauthorized: false })
  const socket = connect()
  socket.write('hello')
  t.is(await text(socket), 'heard hello')
  const other = connect()
  other.on('error', () => {})
  other.write('reset')
  await closeOf(other)
  it.replicas.clear()
  const nobody = connect()
  nobody.on('error', () => {})
  await closeOf(nobody)
  t.pass('who is there no more ends it, and the daemon goes on')
})

async function certify({ cert, key }: { cert: string; key: string }, name: string): Promise<void> {
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const where = ['-keyout', key, '-out', cert, '-subj', `/CN=${name}`]
  await promisify(execFile)('openssl', ['req', '-x509', ...kind, ...where])
}
