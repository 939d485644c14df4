/** A device that only one node reaches has a name everywhere. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'brittle'
import type { ReplicaJson, ServiceJson, ServiceNetJson, ServiceResult } from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab, type Host } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { writeApp } from './apps.ts'
import { said } from './look.ts'

/** A PLC as far as anybody here can tell, at two ports. */
const PLC = `
const http = require('node:http')
for (const port of [502, 503]) {
  http.createServer((q, r) => r.end('register 7 is 42')).listen(port, () => console.log(port))
}`

/** GET /NAME: what answers at the address in its variable NAME; GET /NAME:PORT: at that port of it. */
const CALLER = `
const http = require('node:http')
http.createServer((request, response) => {
  const address = process.env[request.url.slice(1)]
  if (address === undefined) return response.end('no such variable')
  http.get('http://' + address, { agent: false }, (answer) => answer.pipe(response))
    .on('error', () => response.end('nobody answers'))
}).listen(process.env.PORT)`

const DEVICE = {
  apiVersion: 'brume/v1',
  kind: 'Service',
  metadata: { name: 'plc', application: 'plant' },
  spec: { host: '', ports: [502], node: 'n1', allow: ['office'] }
}

test(
  'services - a device behind the NAT of one node is reached by name from another site, and only as it is offered',
  { timeout: 90_000 },
  async (t) => {
    const lab = await createLab({ lans: [{ router: 'easy', hosts: 2 }], open: 2 }, t)
    const [, device] = lab.hosts as [Host, Host]
    device.spawn('node', ['-e', PLC])
    const { nodes } = await createFleet(t, lab, { engines: false, on: [0, 2] })
    const [gateway, office] = nodes as [FleetNode, FleetNode]
    t.not((await office.host.exec('curl', ['-sm1', `http://${device.ip}:502`])).code, 0)

    const file = join(office.host.dir, 'plc.yaml')
    await writeFile(file, JSON.stringify({ ...DEVICE, spec: { ...DEVICE.spec, host: device.ip } }))
    const planned = await office.brume('plan', '-f', file)
    t.is(planned.code, 2, planned.stderr)
    t.ok(planned.stdout.startsWith('plant/plc created\n'), planned.stdout)
    const deployed = await office.json<ServiceResult>('deploy', '-f', file)
    t.is(deployed.change, 'created')
    t.is((await office.json<ServiceResult>('deploy', '-f', file)).change, 'unchanged')
    const [row] = await gateway.until<ServiceJson[]>(['services'], (rows) => rows.length === 1)
    t.is(row?.name, 'plc.plant.brume')
    t.alike(row?.nodes, [{ name: 'n1', alive: true }])

    const app = await writeApp(office.host.dir, 'office', [
      { name: 'view', command: ['node', '-e', CALLER], ports: ['80'], node: 'n2' }
    ])
    t.is((await office.brume('deploy', '-f', app)).code, 0)
    const [view] = await office.json<ReplicaJson[]>('ps', 'office/view')
    const ask = (name: string): Promise<string> =>
      office.get(view?.ports[0]?.host ?? 0, `/BRUME_SERVICE_PLANT_PLC${name}`)
    await waitUntil(async () => (await ask('')) === 'register 7 is 42')
    t.is(await ask('_PORT_503'), 'no such variable', 'it is not offered')
    const way = await office.json<ServiceNetJson>('net', 'plant/plc')
    t.is(way.replicas[0]?.node, 'n1')

    await t.test('services - who asks for another port of the device is refused', async (t) => {
      const { argv, env } = office.command
      const [program = '', ...given] = argv
      const forward = office.host.spawn(
        program,
        [...given, 'forward', 'plant/plc', '7502:502', '7503:503'],
        { env }
      )
      const get = (port: number) => office.host.exec('curl', ['-sm5', `http://127.0.0.1:${port}`])
      await waitUntil(async () => (await get(7502)).stdout === 'register 7 is 42')
      t.not((await get(7503)).code, 0)
      forward.kill('SIGINT')
    })

    await t.test('services - its gateway is cut off and back', async (t) => {
      await gateway.cut()
      await office.until<ServiceJson[]>(['services'], ([one]) => one?.nodes[0]?.alive === false)
      // A flow that began before that was known may wait for longer than anybody asks here.
      const asked = (): Promise<string> => ask('').catch(() => 'no answer in time')
      await waitUntil(async () => (await asked()) === 'nobody answers', 30_000)
      await gateway.heal()
      await waitUntil(async () => (await asked()) === 'register 7 is 42', 30_000)
      t.is(await ask(''), 'register 7 is 42')
    })

    await t.test('services - its name is nobody else’s, until it is removed', async (t) => {
      const taken = await writeApp(office.host.dir, 'plant', [{ name: 'plc', command: ['true'] }])
      const refused = await office.brume('deploy', '-f', taken)
      t.is(refused.code, 1)
      t.ok(refused.stderr.includes('plant/plc is the name of a service outside'), refused.stderr)
      const removed = await gateway.brume('rm', 'plant/plc')
      t.is(removed.code, 0, said(removed))
      await office.until<ServiceJson[]>(['services'], (rows) => rows.length === 0)
      await waitUntil(async () => (await ask('')) === 'nobody answers')
    })
  }
)
