// The street: takes the readings of its households, tells them to shed load while they draw too much
// together, and sends the utility one summary for each window. Those it cannot send now, it sends later.
import { randomBytes } from 'node:crypto'
import http from 'node:http'
import { json } from 'node:stream/consumers'
import { Outbox } from './outbox.js'

const port = Number(process.env.PORT ?? 80)
const windowMs = Number(process.env.WINDOW_S ?? 5) * 1_000
const limitKw = Number(process.env.LIMIT_KW ?? 7)
// Its name in a container; a process is told an address instead.
const utility = process.env.BRUME_SERVICE_OFFICE_UTILITY ?? 'utility.office'

/** What of their load households keep that shed: while they would be above the limit, they go on. */
const SHED = 0.6
/** Of more, the oldest summaries are given up. */
const KEPT = 720

/** An aggregator that starts again counts from 1 again: by this the utility tells them apart. */
const from = randomBytes(2).toString('hex')
const summaries = new Outbox(`http://${utility}/summaries`, { limit: KEPT })
let seq = 0
let shed = false
/** In this window, by meter. */
let readings = new Map()

function endWindow() {
  if (readings.size === 0) return
  const means = [...readings.values()].map((all) => all.reduce((a, b) => a + b) / all.length)
  readings = new Map()
  const totalKw = means.reduce((a, b) => a + b)
  shed = totalKw > limitKw * (shed ? SHED : 1)
  const kept = summaries.size
  summaries.put({
    from,
    seq: ++seq,
    at: Date.now(),
    houses: means.length,
    totalKw: Number(totalKw.toFixed(2)),
    meanKw: Number((totalKw / means.length).toFixed(2)),
    limitKw,
    shed
  })
  const houses = `${means.length} ${means.length === 1 ? 'house' : 'houses'}`
  const advice = shed ? ', shedding' : ''
  const late = kept > 0 ? `; the utility is away, ${kept + 1} kept for it` : ''
  console.log(`${from} #${seq}: ${houses}, ${totalKw.toFixed(2)} kW of ${limitKw}${advice}${late}`)
}

const server = http.createServer(async (request, response) => {
  response.setHeader('content-type', 'application/json')
  try {
    const { meter, kw } = await json(request)
    if (typeof meter !== 'number' || typeof kw !== 'number') throw new Error('no reading')
    readings.set(meter, [...(readings.get(meter) ?? []), kw])
    response.end(JSON.stringify({ shed }))
  } catch {
    response.statusCode = 400
    response.end('{}')
  }
})

server.on('error', (error) => {
  console.error(`cannot listen on port ${port}: ${error.message}`)
  process.exit(1)
})
server.listen(port, () =>
  console.log(`aggregator ${from} listens on port ${server.address().port}`)
)
setInterval(endWindow, windowMs)

// The first process of a container ignores SIGTERM unless it listens for it.
process.once('SIGTERM', () => process.exit(0))
process.once('SIGINT', () => process.exit(0))
