// A household: tells the aggregator every second what it draws, and sheds load when the answer says so.
import { Outbox } from './outbox.js'

const slot = Number(process.env.BRUME_SLOT ?? 0)
const baseKw = Number(process.env.BASE_KW ?? 3 + slot)
// Its name in a container; a process is told an address instead.
const aggregator = process.env.BRUME_SERVICE_AGGREGATOR ?? 'aggregator'

const READ_MS = 1_000
/** All households want more and more for so long, then less at once, and again. */
const PERIOD_MS = 12_000
const LEAST = 0.6
const MOST = 1.4
/** Of what it would draw, a household that sheds draws this much. */
const SHED = 0.6

let shed = false
// An old reading is of no use to anybody.
const readings = new Outbox(`http://${aggregator}/readings`, { limit: 5, onAnswer: heed })

function heed(advice) {
  if (advice.shed !== shed) console.log(advice.shed ? 'sheds load' : 'draws what it wants')
  shed = advice.shed
}

function drawnKw() {
  const phase = (Date.now() % PERIOD_MS) / PERIOD_MS
  const wantedKw = baseKw * (LEAST + (MOST - LEAST) * phase)
  return Number((wantedKw * (shed ? SHED : 1)).toFixed(2))
}

setInterval(() => readings.put({ meter: slot, kw: drawnKw(), shed }), READ_MS)
console.log(`meter ${slot}: ${baseKw} kW, more or less`)

// The first process of a container ignores SIGTERM unless it listens for it.
process.once('SIGTERM', () => process.exit(0))
process.once('SIGINT', () => process.exit(0))
