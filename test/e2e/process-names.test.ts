/** Processes reach microservices at loopback addresses that they are told of, with no right of root. */
import test from 'brittle'
import type { ReplicaJson } from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { answering, writeApp } from './apps.ts'
import { said } from './look.ts'

/** GET /NAME: who it is, what its variable NAME is, and what answers there. */
const CALLER = `
const http = require('node:http')
http.createServer((request, response) => {
  const address = process.env[request.url.slice(1)] ?? null
  const end = (body) => response.end(JSON.stringify({ pid: process.pid, address, body }))
  if (address === null) return end(null)
  http.get('http://' + address, { agent: false }, (answer) => {
    let body = ''
    answer.on('data', (data) => (body += data)).on('end', () => end(body))
  }).on('error', () => end(null))
}).listen(process.env.PORT)`

interface Asked {
  pid: number
  address: string | null
  body: string | null
}

test(
  'process names - this node and another are reached, and still at the same address after the daemon was killed',
  { timeout: 60_000 },
  async (t) => {
    const { nodes } = await createFleet(t, await createLab(3, t), { engines: false })
    const [one, two] = nodes as [FleetNode, FleetNode]
    const app = await writeApp(one.host.dir, 'shop', [
      { name: 'caller', command: ['node', '-e', CALLER], ports: ['80'], node: 'n1' },
      { name: 'near', command: answering('near'), ports: ['80'], node: 'n1' },
      { name: 'far-away', command: answering('far away'), ports: ['8080'], node: 'n2' }
    ])
    await deploy(one, app)
    const [caller] = await one.json<ReplicaJson[]>('ps', 'shop/caller')
    const port = caller?.ports[0]?.host ?? 0
    const ask = async (name: string): Promise<Asked> =>
      JSON.parse(await one.get(port, `/BRUME_SERVICE_${name}`)) as Asked
    const untilAnswered = async (name: string): Promise<Asked> => {
      let asked = await ask(name)
      await waitUntil(async () => (asked = await ask(name)).body !== null)
      return asked
    }

    const near = await untilAnswered('NEAR')
    t.is(near.body, 'near')
    t.is((await ask('NEAR_PORT_80')).address, near.address)
    const far = await untilAnswered('FAR_AWAY_PORT_8080')
    t.is(far.body, 'far away')
    t.is((await ask('BILLS_DB')).address, null)

    await one.kill()
    t.is((await ask('NEAR')).body, null, 'the way is through the daemon')
    await one.start()
    t.alike(await untilAnswered('NEAR'), near, 'the same process, the same address')
    t.alike(await untilAnswered('FAR_AWAY_PORT_8080'), far)

    await t.test('process names - another application is told of who lets it in', async (t) => {
      const bills = await writeApp(two.host.dir, 'bills', [
        { name: 'db', command: answering('bills'), ports: ['5432'], node: 'n2', allow: ['shop'] },
        { name: 'till', command: answering('till'), ports: ['80'], node: 'n2' }
      ])
      await deploy(two, bills)
      await one.until<ReplicaJson[]>(['ps', 'bills'], (rows) => rows.length === 2)
      const again = await one.brume('restart', 'shop/caller')
      t.is(again.code, 0, said(again))
      const [anew] = await one.json<ReplicaJson[]>('ps', 'shop/caller')
      const told = async (name: string): Promise<Asked> =>
        JSON.parse(await one.get(anew?.ports[0]?.host ?? 0, `/BRUME_SERVICE_${name}`)) as Asked
      await waitUntil(async () => (await told('BILLS_DB')).body === 'bills')
      t.is((await told('BILLS_TILL')).address, null)
      t.is((await told('NEAR')).address, near.address, 'its new process is told the same')
    })
  }
)

async function deploy(on: FleetNode, path: string): Promise<void> {
  const deployed = await on.brume('deploy', '-f', path)
  if (deployed.code !== 0) throw new Error(said(deployed))
}
