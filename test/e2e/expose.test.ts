/** A port of many nodes leads to a microservice, whichever of them runs it: from outside, by curl. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'brittle'
import type { ExposedJson, ReplicaJson, ServiceNetJson, StatusJson } from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab, type Host } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { answering, writeApp } from './apps.ts'
import { said } from './look.ts'

/** Says what it was asked, and by whom. */
const SERVER = `
require('node:http').createServer((q, r) => {
  const { 'x-forwarded-for': from, 'x-forwarded-proto': how } = q.headers
  r.end(['web', q.url, from, how].join(' '))
}).listen(process.env.PORT)`

test(
  'expose - nodes of a label open a port for what runs on another, and close it when the label goes',
  { timeout: 240_000 },
  async (t) => {
    const lab = await createLab(4, t)
    const zones = ['a', 'b', 'a']
    const { nodes } = await createFleet(t, lab, {
      engines: false,
      args: (i) => ['--label', `zone=${zones[i]}`]
    })
    const [one, two, three] = nodes as [FleetNode, FleetNode, FleetNode]
    const outside = lab.hosts[3] as Host
    const curl = async (...args: string[]): Promise<string> => {
      const { code, stdout } = await outside.exec('curl', ['-sS', '-m', '10', ...args])
      return code === 0 ? stdout : `curl ended with ${code}`
    }
    const tls = { cert: join(one.host.dir, 'x.crt'), key: join(one.host.dir, 'x.key') }
    const web = {
      name: 'web',
      command: ['node', '-e', SERVER],
      ports: ['80'],
      node: 'n2',
      expose: [
        { port: 8080, protocol: 'http', on: 'zone=a' },
        { port: 8443, path: '/shop', on: 'zone=a', tls }
      ]
    }
    const api = { name: 'api', command: answering('api'), ports: ['80'], node: 'n1' }
    const shared = { ...api, expose: [{ port: 8080, path: '/api', on: 'all' }] }
    await deploy(one, 'shop', [web, shared])

    const opened = async (on: FleetNode, ref: string): Promise<ExposedJson[]> =>
      (await on.json<ServiceNetJson>('net', ref)).exposed
    const until = async (ref: string, ...wanted: string[]): Promise<void> => {
      let states: string[] = []
      await waitUntil(async () => {
        const rows = await opened(two, ref)
        states = rows.map(({ node, port, open }) => `${node} ${port} ${open}`)
        return states.join() === wanted.join()
      }, 30_000).catch(() => t.alike(states, wanted))
    }
    await until('shop/web', 'n1 8080 true', 'n3 8080 true', 'n1 8443 false', 'n3 8443 false')
    await until('shop/api', 'n1 8080 true', 'n2 8080 true', 'n3 8080 true')
    // Who serves is known on each some moments after a deploy is done.
    for (const { host } of [one, two, three]) {
      await waitUntil(async () => (await curl(`http://${host.ip}:8080/api`)) === 'api')
    }
    for (const { host } of [one, three]) {
      await waitUntil(async () => (await curl(`http://${host.ip}:8080/`)).startsWith('web '))
      t.is(await curl(`http://${host.ip}:8080/x?y`), `web /x?y ${outside.ip} http`, host.ip)
      t.is(await curl(`http://${host.ip}:8080/api/x`), 'api')
    }
    t.ok((await curl(`http://${two.host.ip}:8080/x`)).startsWith('nothing is exposed here'))
    t.is(await curl(`http://${two.host.ip}:8080/api`), 'api')
    const [replica] = await two.json<ReplicaJson[]>('ps', 'shop/web')
    t.is(replica?.exposed[0]?.problem, null)
    t.ok(replica?.exposed[1]?.problem?.startsWith('not open on n1: there is no /'))

    await t.test('expose - TLS by a certificate that comes later', async (t) => {
      const self = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=shop.example']
      await promisify(execFile)('openssl', [...self, '-keyout', tls.key, '-out', tls.cert])
      await until('shop/web', 'n1 8080 true', 'n3 8080 true', 'n1 8443 true', 'n3 8443 true')
      const at = `shop.example:8443:${three.host.ip}`
      const url = 'https://shop.example:8443/shop/1'
      const given = ['--resolve', at, '--cacert', tls.cert]
      t.is(await curl(...given, url), `web /shop/1 ${outside.ip} https`)
    })

    await t.test('expose - what another has is refused at deploy', async (t) => {
      const other = { ...api, name: 'other', expose: ['8080:80'] }
      const file = await writeApp(one.host.dir, 'other', [other])
      const refused = await one.brume('deploy', '-f', file)
      t.is(refused.code, 1)
      const why = 'other/other cannot have port 8080 on n1, n2, n3: it is exposed for shop/api'
      t.ok(refused.stderr.includes(why), refused.stderr)
    })

    await t.test('expose - a port in use is said, and opened once it is free', async (t) => {
      await deploy(one, 'shop', [{ ...web, expose: ['9090:80'] }])
      await until('shop/web', 'n1 9090 true', 'n2 9090 true', 'n3 9090 true')
      t.is(await curl(`http://${one.host.ip}:9090/`), 'web /  ', 'as tcp it is not looked into')
      t.ok((await curl(`http://${one.host.ip}:8080/`)).startsWith('curl ended'), 'no more')

      const script = "require('node:net').createServer().listen(9091, () => console.log(1))"
      const squatter = three.host.spawn(process.execPath, ['-e', script])
      t.teardown(() => squatter.kill())
      if (squatter.stdout !== null) await once(squatter.stdout, 'data')
      await deploy(one, 'shop', [{ ...web, expose: ['9091:80'] }])
      await until('shop/web', 'n1 9091 true', 'n2 9091 true', 'n3 9091 false')
      const row = (await opened(one, 'shop/web')).find(({ node }) => node === 'n3')
      t.is(row?.reason, 'another program has port 9091')
      const status = await three.json<StatusJson>('status')
      t.is(status.exposed[0]?.problem, 'another program has port 9091')
      squatter.kill()
      await until('shop/web', 'n1 9091 true', 'n2 9091 true', 'n3 9091 true')
    })

    await t.test('expose - without the label the port closes', async (t) => {
      await deploy(one, 'shop', [web])
      const at = `http://${three.host.ip}:8080/`
      await waitUntil(async () => (await curl(at)).startsWith('web '))
      const labelled = await one.brume('node', 'label', 'n3', 'zone-')
      t.is(labelled.code, 0, said(labelled))
      await waitUntil(async () => (await curl(at)) === 'curl ended with 7')
      t.ok((await curl(`http://${one.host.ip}:8080/`)).startsWith('web '))
      await until('shop/web', 'n1 8080 true', 'n1 8443 true')
    })
  }
)

async function deploy(on: FleetNode, name: string, microservices: object[]): Promise<void> {
  const deployed = await on.brume('deploy', '-f', await writeApp(on.host.dir, name, microservices))
  if (deployed.code !== 0) throw new Error(said(deployed))
}
