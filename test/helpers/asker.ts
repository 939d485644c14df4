/**
 * A process that asks another, `wordy`, by its address: over a connection that stays open and asks once
 * a second, and with new ones beside it. What came of it is told at its port; there it also takes
 * orders: to hold connections open, to read nothing, to end its side first.
 */
export interface Asked {
  /** Of the one that stays open. Who hears nothing on it for 20 s opens another. */
  long: { opened: number; answers: number; longestSilenceMs: number; silentMs: number }
  /** Of new ones, as they began, up to the first under way: ms until the answer; null: none came. */
  short: (number | null)[]
  /** Idle connections under way. */
  held: number
}

/** `variable`: where its environment says whom to ask. */
export const asker = (variable: string, perSecond = 1): object => ({
  command: ['node', '-e', ASKER, variable, String(1000 / perSecond)],
  ports: ['80']
})

/** Says back what it is told; after `endless` talks on for ever; after `later N` and an end, N bytes. */
export const wordy = (): object => ({ command: ['node', '-e', WORDY], ports: ['80'] })

const WORDY = `
const net = require('node:net')
const endless = (socket) => {
  const piece = Buffer.alloc(65536)
  const go = () => { while (socket.writable && socket.write(piece)); }
  socket.on('drain', go)
  go()
}
net.createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {})
  socket.once('data', (first) => {
    const [word, n] = String(first).split(' ')
    if (word === 'endless') return endless(socket)
    if (word[0] === 'x') return socket.resume()
    if (word === 'later') return socket.resume().on('end', () => socket.end(Buffer.alloc(Number(n))))
    socket.write(first)
    socket.pipe(socket)
  })
}).listen(process.env.PORT)`

const ASKER = `
const net = require('node:net')
const [variable, everyMs] = process.argv.slice(1)
const now = () => performance.now()
const dial = () => {
  const [host, port] = process.env[variable].split(':')
  return net.connect({ host, port, noDelay: true, allowHalfOpen: true }).on('error', () => {})
}
const fresh = () => ({ long: { opened: 0, answers: 0, longestSilenceMs: 0 }, short: [] })
let told = fresh()
let heardAt = now()
const held = new Set()
const stay = () => {
  const socket = dial()
  told.long.opened++
  const turn = setInterval(() => socket.write('how are you'), 1000)
  socket.setTimeout(20000, () => socket.destroy())
  socket.on('data', () => {
    told.long.answers++
    told.long.longestSilenceMs = Math.max(told.long.longestSilenceMs, now() - heardAt)
    heardAt = now()
  })
  socket.on('end', () => socket.destroy())
  socket.on('close', () => (clearInterval(turn), setTimeout(stay, 1000)))
}
stay()
setInterval(() => {
  const socket = dial()
  const [began, mine] = [now(), told.short]
  const place = mine.push('under way') - 1
  socket.once('data', () => ((mine[place] = now() - began), socket.destroy()))
  socket.on('close', () => mine[place] === 'under way' && (mine[place] = null))
  socket.on('end', () => socket.destroy()).write('hello')
  socket.setTimeout(20000, () => socket.destroy())
}, Number(everyMs))
const orders = {
  '/': () => told,
  '/reset': () => ((told = fresh()), told),
  '/hold': (n) => {
    for (let i = 0; i < n; i++) {
      const socket = dial()
      socket.once('connect', () => held.add(socket)).once('close', () => held.delete(socket))
      socket.resume()
    }
    return told
  },
  '/stall': () => {
    const socket = dial()
    socket.once('connect', () => held.add(socket)).write('endless')
    socket.pause()
    return told
  },
  '/upload': () => {
    const socket = dial()
    const piece = Buffer.alloc(65536, 'x')
    const go = () => { while (socket.writable && socket.write(piece)); }
    socket.once('connect', () => (held.add(socket), go())).on('drain', go).resume()
    return told
  },
  '/release': () => (held.forEach((socket) => socket.destroy()), held.clear(), told)
}
require('node:http').createServer((request, response) => {
  const [order, n] = request.url.split('?')
  if (order === '/later') {
    const socket = dial()
    let bytes = 0
    socket.on('data', (data) => (bytes += data.length)).on('close', () => response.end(String(bytes)))
    socket.on('end', () => socket.end())
    return socket.end('later ' + n)
  }
  const { long, short: all } = orders[order](Number(n))
  const first = all.indexOf('under way')
  const short = first < 0 ? all : all.slice(0, first)
  response.end(JSON.stringify({ long: { ...long, silentMs: now() - heardAt }, short, held: held.size }))
}).listen(process.env.PORT)`
