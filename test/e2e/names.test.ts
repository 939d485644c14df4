/** Microservices reach each other by name, whichever node they run on. */
import test from 'brittle'
import type { ReplicaJson, ServiceNetJson, StatusJson } from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { tapped } from '../helpers/wire.ts'
import { writeApp } from './apps.ts'
import { said } from './look.ts'

const server = (port = 80): object => ({
  image: 'local/node:20',
  command: [
    'node',
    '-e',
    'const { BRUME_MICROSERVICE: m, BRUME_SLOT: s } = process.env;' +
      "process.on('SIGTERM', () => process.exit());" +
      'require("node:http").createServer((q, r) => r.end(`${m}/${s} to ${q.socket.remoteAddress} ${"says-it ".repeat(9000)}`))' +
      `.listen(${port})`
  ],
  ports: [String(port)]
})

/** What a name is to a container, and what answers there. */
interface Asked {
  addresses: string[]
  body: string | null
  error: string | null
}

const ASK = `
const dns = require('node:dns'), http = require('node:http')
const [name, port] = process.argv.slice(1)
dns.lookup(name, { all: true, family: 4 }, (failed, found) => {
  const addresses = (found ?? []).map(({ address }) => address).sort()
  const end = (rest) => { console.log(JSON.stringify({ addresses, body: null, error: null, ...rest })); process.exit() }
  if (failed) return end({ error: failed.code })
  http.get({ host: name, port, family: 4, timeout: 5000 }, (r) => {
    let body = ''
    r.on('data', (d) => (body += d)).on('end', () => end({ body: body.slice(0, 60) }))
  }).on('error', (e) => end({ error: e.code })).on('timeout', () => end({ error: 'TIMEOUT' }))
})`

/** From the container of `ref` on that node. */
async function ask(on: FleetNode, ref: string, name: string, port = 80): Promise<Asked> {
  const containers = await on.containers()
  const [application, microservice] = ref.split('/')
  const one = containers.find(
    ({ running, labels }) =>
      running &&
      labels['brume.application'] === application &&
      labels['brume.microservice'] === microservice
  )
  if (one === undefined) throw new Error(`${on.name} runs no ${ref}`)
  const run = ['exec', one.id, 'node', '-e', ASK, '--', name, String(port)]
  const { code, stdout, stderr } = await on.host.exec('docker', [
    '-H',
    `unix://${on.dockerSocket}`,
    ...run
  ])
  if (code !== 0) throw new Error(`asking for ${name} failed: ${stderr}`)
  return JSON.parse(stdout) as Asked
}

const VIRTUAL = /^10\.214\.(?:12[89]|1[3-9]\d|2\d\d)\.\d+$/

test(
  'names - of any microservice of the application, on this node and on another',
  {
    timeout: 240_000
  },
  async (t) => {
    const { nodes } = await createFleet(t, await createLab(3, t))
    const [one, two] = nodes as [FleetNode, FleetNode]
    const shop = (allow: string[]): object[] => [
      { name: 'asker', ...server(), node: 'n1' },
      { name: 'near', ...server(), node: 'n1', allow },
      { name: 'far', ...server(), node: 'n2', allow },
      { name: 'both', ...server(8080), replicas: 2, maxReplicasPerNode: 1 }
    ]
    await deploy(one, 'shop', shop([]))

    const near = await answered(one, 'shop/asker', 'near')
    t.is(near.addresses.length, 1)
    t.ok(near.addresses[0]?.startsWith('10.214.') && !VIRTUAL.test(near.addresses[0]), 'its own')
    t.ok(near.body?.startsWith('near/0'), JSON.stringify(near))

    for (const name of ['far', 'far.shop', 'far.shop.brume', '0.far', 'nearest.far.shop']) {
      const far = await answered(one, 'shop/asker', name)
      t.ok(far.addresses.length === 1 && VIRTUAL.test(far.addresses[0] ?? ''), `${name}: virtual`)
      t.ok(far.body?.startsWith('far/0'), JSON.stringify(far))
    }
    const back = await answered(two, 'shop/far', 'asker')
    t.ok(back.body?.startsWith('asker/0'), JSON.stringify(back))

    const both = await answered(one, 'shop/asker', 'both', 8080)
    t.ok(VIRTUAL.test(both.addresses[0] ?? ''), 'one of them is elsewhere')
    t.ok(both.body?.startsWith('both/'), JSON.stringify(both))
    const { name, ports, replicas } = await one.json<ServiceNetJson>('net', 'shop/both')
    t.is(name, 'both.shop.brume')
    t.alike(ports, [{ container: 8080, protocol: 'tcp' }])
    t.alike(
      replicas.map(({ node, path }) => `${node} ${path}`),
      ['n1 self', 'n2 lan']
    )
    const all = await ask(one, 'shop/asker', 'all.both', 8080)
    t.is(all.addresses.length, 2)
    t.is(all.addresses.filter((address) => VIRTUAL.test(address)).length, 1)

    await t.test('names - what is not there is said at once', async (t) => {
      t.is((await ask(one, 'shop/asker', 'nobody.shop.brume')).error, 'ENOTFOUND')
      t.is((await ask(one, 'shop/asker', 'far', 81)).error, 'ECONNREFUSED', 'no such port')
    })

    await t.test('names - nothing of it is in clear between nodes', async (t) => {
      const byName = await tapped(one.host, 'says-it', () => ask(one, 'shop/asker', 'far'))
      t.ok(byName.bytes > 72_000, `${byName.bytes} bytes`)
      t.is(byName.found, 0)
      const [far] = await one.json<ReplicaJson[]>('ps', 'shop/far')
      const published = far?.ports[0]?.host ?? 0
      const plain = await tapped(one.host, 'says-it', () =>
        ask(one, 'shop/asker', two.host.ip, published)
      )
      t.ok(plain.found > 0, 'the tap would have seen it')
    })

    await t.test(
      'names - another application is let in by `allow`, and by nothing else',
      async (t) => {
        const other = await writeApp(one.host.dir, 'other', [
          { name: 'asker', ...server(), node: 'n1' }
        ])
        t.is((await one.brume('deploy', '-f', other)).code, 0)
        t.is((await ask(one, 'other/asker', 'near.shop.brume')).error, 'ENOTFOUND')
        const [address = ''] = near.addresses
        t.not((await ask(one, 'other/asker', address)).body, near.body, 'nor by its address')
        const [virtual = ''] = (await ask(one, 'shop/asker', 'far')).addresses
        t.is((await ask(one, 'other/asker', virtual)).body, null, 'nor by the address of another’s')

        await deploy(one, 'shop', shop(['other/asker']))
        const far = await answered(one, 'other/asker', 'far.shop')
        t.ok(VIRTUAL.test(far.addresses[0] ?? ''))
        t.ok(far.body?.startsWith('far/0'), JSON.stringify(far))
        const here = await answered(one, 'other/asker', 'near.shop')
        t.ok(VIRTUAL.test(here.addresses[0] ?? ''), 'by the Connector, though it is on this node')
        t.ok(here.body?.startsWith('near/0'), JSON.stringify(here))

        await deploy(one, 'shop', shop([]))
        const isUnknown = async (): Promise<boolean> =>
          (await ask(one, 'other/asker', 'near.shop.brume')).error === 'ENOTFOUND'
        await waitUntil(isUnknown)
        for (const { addresses } of [far, here]) {
          const late = await ask(one, 'other/asker', addresses[0] ?? '')
          t.is(late.body, null, 'nor by an address it remembers')
        }
        t.is((await ask(one, 'other/asker', 'asker')).addresses[0]?.split('.')[3], '2', 'its own')
      }
    )

    await t.test('names - a container sees no port of brume', async (t) => {
      const gateway = near.addresses[0]?.replace(/\d+$/, '1') ?? ''
      for (const address of [gateway, one.host.ip]) {
        const port = await ask(one, 'shop/asker', address, 49737)
        t.is(port.error, 'ECONNREFUSED', `data port at ${address}`)
      }
    })

    await t.test('names - go on after the daemon was killed and is up again', async (t) => {
      const before = await ask(one, 'shop/asker', 'far')
      await one.kill()
      await one.start()
      await one.until<StatusJson>(['status'], ({ names }) => names.state === 'serving')
      const after = await answered(one, 'shop/asker', 'far')
      t.alike(after.addresses, before.addresses, 'whoever remembers it is right')
      t.ok(after.body?.startsWith('far/0'), JSON.stringify(after))
    })

    await t.test('names - who leaves leaves nothing of them', async (t) => {
      const left = await two.brume('leave', '--purge')
      t.is(left.code, 0, said(left))
      const { stdout: rules } = await two.host.exec('iptables-save')
      t.absent(rules.includes('BRUME'), rules)
      const { stdout: addresses } = await two.host.exec('ip', ['addr', 'show', 'dev', 'lo'])
      t.absent(addresses.includes('10.214.'), addresses)
      const { stdout: networks } = await two.host.exec('docker', [
        ...['-H', `unix://${two.dockerSocket}`, 'network', 'ls', '--format', '{{.Name}}']
      ])
      t.absent(networks.includes('brume'), networks)
    })
  }
)

/** Once it does: who serves is known some moments after a deploy is done. */
async function answered(on: FleetNode, ref: string, name: string, port = 80): Promise<Asked> {
  let last: Asked = { addresses: [], body: null, error: null }
  await waitUntil(async () => (last = await ask(on, ref, name, port)).body !== null, 30_000)
  return last
}

async function deploy(on: FleetNode, name: string, microservices: object[]): Promise<void> {
  const deployed = await on.brume('deploy', '-f', await writeApp(on.host.dir, name, microservices))
  if (deployed.code !== 0) throw new Error(said(deployed))
}
