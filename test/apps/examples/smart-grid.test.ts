/** The three programs of the smart grid as processes, over real HTTP on loopback. */
import test, { type Assert } from 'brittle'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { waitUntil } from '../../helpers/wait.ts'

const EXAMPLE = join(import.meta.dirname, '..', '..', '..', 'apps', 'examples', 'smart-grid')
const TIMEOUT = { timeout: 60_000 }

interface Reading {
  meter: number
  kw: number
  shed: boolean
}

interface Summary {
  from: string
  seq: number
  houses: number
  totalKw: number
  meanKw: number
  shed: boolean
  late: number
}

interface Program {
  child: ChildProcess
  text: () => string
}

test('meter - sheds load while the answer says so', TIMEOUT, async (t) => {
  const advice = { shed: false }
  const readings: Reading[] = []
  const { address } = await listen(t, async (request, response) => {
    readings.push((await json(request)) as Reading)
    response.end(JSON.stringify(advice))
  })
  start(t, 'street/meter.js', {
    BASE_KW: '100',
    BRUME_SLOT: '7',
    BRUME_SERVICE_AGGREGATOR: address
  })
  /** Between two periods it is at another height by the time it is here: then the next one has it. */
  const draws = (share: number): Promise<void> => {
    readings.length = 0
    return waitUntil(() => {
      const last = readings.at(-1)
      const wanted = 100 * (0.6 + 0.8 * ((Date.now() % 12_000) / 12_000)) * share
      return last !== undefined && Math.abs(last.kw - wanted) < 5
    }, 15_000)
  }
  await draws(1)
  t.alike(
    readings.map(({ meter, shed }) => `${meter} ${shed}`),
    readings.map(() => '7 false')
  )
  advice.shed = true
  await draws(0.6)
  t.is(readings.at(-1)?.shed, true)
  advice.shed = false
  await draws(1)
})

test('street - sheds together above its limit, and the utility hears of it', TIMEOUT, async (t) => {
  const utility = await serve(t, 'office/utility.js')
  const aggregator = await serve(t, 'street/aggregator.js', {
    WINDOW_S: '1',
    LIMIT_KW: '6',
    BRUME_SERVICE_OFFICE_UTILITY: utility.address
  })
  for (const slot of ['0', '1']) {
    start(t, 'street/meter.js', {
      // Together between 7.2 and 16.8, between 4.3 and 10.1 while they shed: never below 3.6.
      BASE_KW: '6',
      BRUME_SLOT: slot,
      BRUME_SERVICE_AGGREGATOR: aggregator.address
    })
  }
  await waitUntil(async () => {
    const seen = await summariesAt(utility.address)
    return seen.filter(({ houses, shed }) => houses === 2 && shed).length >= 3
  }, 20_000)
  const seen = (await summariesAt(utility.address)).filter(({ houses }) => houses === 2)
  for (const { totalKw, meanKw, shed } of seen) {
    t.ok(shed && Math.abs(totalKw / 2 - meanKw) < 0.02, `${totalKw} kW`)
  }
  const page = await (await fetch(`http://${utility.address}/`)).text()
  t.ok(page.includes('<td>shedding<td>'), 'the page says so')
})

test(
  'aggregator - what the utility misses comes after, in order and none missing',
  TIMEOUT,
  async (t) => {
    const utility = await serve(t, 'office/utility.js')
    const aggregator = await serve(t, 'street/aggregator.js', {
      WINDOW_S: '0.2',
      LIMIT_KW: '5',
      BRUME_SERVICE_OFFICE_UTILITY: utility.address
    })
    const report = async (kw: number): Promise<boolean> =>
      ((await post(aggregator.address, '/readings', { meter: 0, kw })) as Reading).shed
    let before: Summary[] = []
    await waitUntil(async () => {
      await report(4)
      before = await summariesAt(utility.address)
      return before.length > 0
    })
    await end(utility.child)

    await waitUntil(() => report(9))
    await waitUntil(async () => !(await report(1)))
    await waitUntil(async () => {
      await report(4)
      return /the utility is away, 1[0-4] kept/.test(aggregator.text())
    })
    const port = utility.address.split(':')[1] as string
    const again = await serve(t, 'office/utility.js', { PORT: port })

    // No reading, no summary: the last is made by now, or by the end of this window.
    const last = (): number =>
      Number(
        aggregator
          .text()
          .match(/(?<=#)\d+/g)
          ?.at(-1)
      )
    await waitUntil(async () => (await summariesAt(again.address)).at(-1)?.seq === last())
    const after = await summariesAt(again.address)
    const first = after[0]?.seq ?? 0
    t.ok(first <= (before.at(-1)?.seq ?? 0) + 2, 'what was made since the last look')
    t.alike(
      after.map(({ seq }) => seq),
      after.map((_, i) => first + i)
    )
    t.ok(
      after.some(({ shed, late }) => shed && late > 1_000),
      'what the street did meanwhile too'
    )
  }
)

test('utility - one that is sent twice counts once; nonsense is refused', TIMEOUT, async (t) => {
  const utility = await serve(t, 'office/utility.js')
  const one = { from: 'ab12', at: Date.now(), houses: 1, totalKw: 3, meanKw: 3, limitKw: 7 }
  for (const seq of [1, 2, 2, 1, 3]) await post(utility.address, '/', { ...one, seq })
  await post(utility.address, '/', { ...one, from: 'cd34', seq: 1 })
  const bad = await fetch(`http://${utility.address}/`, {
    method: 'POST',
    body: JSON.stringify({ ...one, from: '<b>', seq: 4 })
  })
  t.is(bad.status, 400)
  const names = (await summariesAt(utility.address)).map(({ from, seq }) => `${from} ${seq}`)
  t.alike(names, ['ab12 1', 'ab12 2', 'ab12 3', 'cd34 1'])
  for (let seq = 10; seq < 80; seq++) await post(utility.address, '/', { ...one, seq })
  const kept = await summariesAt(utility.address)
  t.is(kept.length, 60)
  t.is(kept[0]?.seq, 20, 'the oldest went')
})

test('outbox - of more than it may keep the oldest are given up', TIMEOUT, async (t) => {
  const { Outbox } = (await import(pathToFileURL(join(EXAMPLE, 'street/outbox.js')).href)) as {
    Outbox: new (
      url: string,
      options: { limit: number }
    ) => { readonly size: number; put(thing: unknown): void }
  }
  const got: unknown[] = []
  let isAway = true
  let refused = 0
  const { address } = await listen(t, async (request, response) => {
    const thing = await json(request)
    if (isAway) {
      refused++
      return void request.socket.destroy()
    }
    got.push(thing)
    response.end('{}')
  })
  const outbox = new Outbox(`http://${address}/`, { limit: 3 })
  for (let i = 1; i <= 5; i++) outbox.put({ i })
  t.is(outbox.size, 3)
  await waitUntil(() => refused > 0)
  isAway = false
  await waitUntil(() => outbox.size === 0)
  t.alike(got, [{ i: 3 }, { i: 4 }, { i: 5 }])
})

async function listen(
  t: Assert,
  handle: (request: http.IncomingMessage, response: http.ServerResponse) => Promise<void>
): Promise<{ address: string }> {
  const server = http.createServer((request, response) => {
    handle(request, response).catch((error: Error) => response.destroy(error))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** One that listens, once it does. */
async function serve(
  t: Assert,
  program: string,
  env: Record<string, string> = {}
): Promise<Program & { address: string }> {
  const started = start(t, program, { PORT: '0', ...env })
  const port = (): string | undefined => /listens on port (\d+)/.exec(started.text())?.[1]
  await waitUntil(() => port() !== undefined)
  return { ...started, address: `127.0.0.1:${port()}` }
}

function start(t: Assert, program: string, env: Record<string, string>): Program {
  const child = spawn(process.execPath, [join(EXAMPLE, program)], {
    env,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => end(child))
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  return { child, text: () => text }
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

async function post(address: string, path: string, body: object): Promise<unknown> {
  const response = await fetch(`http://${address}${path}`, {
    method: 'POST',
    body: JSON.stringify(body)
  })
  if (!response.ok) throw new Error(`${path} answered ${response.status}`)
  return response.json()
}

async function summariesAt(address: string): Promise<Summary[]> {
  return (await (await fetch(`http://${address}/api/raw`)).json()) as Summary[]
}
