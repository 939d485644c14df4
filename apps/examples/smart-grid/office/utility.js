// The utility's office: keeps the last summaries of the street, and shows them. `/api/raw` gives them
// as JSON, the oldest first; every other path is a page for people.
import http from 'node:http'
import { json } from 'node:stream/consumers'

const port = Number(process.env.PORT ?? 80)
const KEPT = 60
const SHOWN = 15

/** As they came, with `late`: how long after its window one did, in ms. */
const summaries = []

function take({ from, seq, at, houses, totalKw, meanKw, limitKw, shed }) {
  const numbers = [seq, at, houses, totalKw, meanKw, limitKw]
  if (!/^[0-9a-f]{1,16}$/.test(from) || !numbers.every(Number.isFinite))
    throw new Error('no summary')
  // Who heard no answer sends again.
  if (summaries.some((known) => known.from === from && known.seq === seq)) return
  const late = Math.max(0, Date.now() - at)
  summaries.push({ from, seq, at, houses, totalKw, meanKw, limitKw, shed: shed === true, late })
  if (summaries.length > KEPT) summaries.shift()
  console.log(`${from} #${seq}: ${houses} houses, ${totalKw} kW${shed ? ', shedding' : ''}`)
}

function page() {
  const rows = summaries.slice(-SHOWN).reverse().map(row)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="1">
<title>The street</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 46em }
  table { border-collapse: collapse; width: 100% }
  td, th { padding: 0 0.8em 0 0; text-align: left; font-variant-numeric: tabular-nums; white-space: nowrap }
  td:last-child { width: 100%; padding: 0 }
  i { display: block; height: 1em; background: #4a8 }
  i.shed { background: #d73 }
</style>
<h1>The street</h1>
<table>
<tr><th>#<th>houses<th>kW<th>each<th><th>late<th></tr>
${rows.join('\n')}
</table>
`
}

function row({ from, seq, houses, totalKw, meanKw, limitKw, shed, late }) {
  const width = Math.min(100, (totalKw / limitKw) * 60)
  const bar = `<i ${shed ? 'class="shed" ' : ''}style="width: ${width.toFixed(0)}%"></i>`
  const numbers = `<td>${from} ${seq}<td>${houses}<td>${totalKw}<td>${meanKw}`
  return `<tr>${numbers}<td>${shed ? 'shedding' : ''}<td>${(late / 1000).toFixed(1)} s<td>${bar}</tr>`
}

const server = http.createServer(async (request, response) => {
  response.setHeader('content-type', 'application/json')
  if (request.method === 'POST') {
    try {
      take(await json(request))
    } catch {
      response.statusCode = 400
    }
    return response.end('{}')
  }
  if (request.url === '/api/raw') return response.end(JSON.stringify(summaries))
  response.setHeader('content-type', 'text/html; charset=utf-8')
  response.end(page())
})

server.on('error', (error) => {
  console.error(`cannot listen on port ${port}: ${error.message}`)
  process.exit(1)
})
server.listen(port, () => console.log(`utility listens on port ${server.address().port}`))

// The first process of a container ignores SIGTERM unless it listens for it.
process.once('SIGTERM', () => process.exit(0))
process.once('SIGINT', () => process.exit(0))
