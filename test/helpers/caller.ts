/**
 * A microservice that calls another by name, so many times a second, each time anew: resolver,
 * connection, request. What came of it is told at its port 80, and how many replicas of a third
 * answer to their name.
 */
export interface Calls {
  sent: number
  ok: number
  slowestMs: number
  /** ms since the start of the container. */
  failed: { atMs: number; tookMs: number; why: string }[]
  nowMs: number
  /** Changes of how many addresses `all.WATCHED` has. */
  answers: { atMs: number; addresses: number }[]
}

export const caller = (name: string, perSecond: number, watched: string): object => ({
  image: 'local/node:20',
  command: ['node', '-e', SCRIPT, '--', name, String(perSecond), watched],
  env: { UV_THREADPOOL_SIZE: '32' },
  ports: ['80']
})

const SCRIPT = `
const http = require('node:http'), dns = require('node:dns')
const [name, perSecond, watched] = process.argv.slice(1)
process.on('SIGTERM', () => process.exit())
const fresh = () => ({ sent: 0, ok: 0, slowestMs: 0, failed: [], answers: [] })
let calls = fresh()
const now = () => Math.round(performance.now())
function call() {
  const atMs = now(), mine = calls
  mine.sent++
  let over = false
  const end = (why) => {
    if (over) return
    over = true
    const tookMs = now() - atMs
    if (why === null) { mine.ok++; mine.slowestMs = Math.max(mine.slowestMs, tookMs) }
    else mine.failed.push({ atMs, tookMs, why })
  }
  const request = http.get({ host: name, port: 80, family: 4, agent: false }, (r) => {
    let body = ''
    r.on('data', (d) => (body += d)).on('end', () => end(r.complete && body.startsWith('ok') ? null : 'cut short')).on('error', (e) => end(e.code))
  })
  request.on('error', (e) => end(e.code ?? e.message))
  setTimeout(() => { request.destroy(); end('no answer') }, 10000).unref()
}
function look() {
  dns.lookup('all.' + watched, { all: true, family: 4 }, (e, found) => {
    const addresses = e ? 0 : found.length
    if (calls.answers.at(-1)?.addresses !== addresses) calls.answers.push({ atMs: now(), addresses })
    setTimeout(look, 100)
  })
}
look()
let due = performance.now()
setInterval(() => { for (; due < performance.now(); due += 1000 / perSecond) call() }, 5)
http.createServer((q, r) => {
  const said = { ...calls, nowMs: now() }
  if (q.url === '/reset') calls = fresh()
  r.end(JSON.stringify(said))
}).listen(80)`
