/** UDP by name and by `forward`, to whichever node it is on. */
import { execFile, type ChildProcess } from 'node:child_process'
import { promisify } from 'node:util'
import test, { type Assert } from 'brittle'
import type { ServiceNetJson, StatusJson } from '../../apps/api.ts'
import { dockerApi } from '../helpers/docker-api.ts'
import { createFleet, type Container, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { idle, writeApp } from './apps.ts'
import { said } from './look.ts'

const run = promisify(execFile)

/** Says back what it hears, and to `who`, which replica it is. */
const ECHO = `
const { BRUME_SLOT: slot, BRUME_NODE: node } = process.env
const socket = require('node:dgram').createSocket('udp4')
process.on('SIGTERM', () => process.exit())
socket.on('message', (datagram, { port, address }) => {
  socket.send(String(datagram) === 'who' ? slot + ' ' + node : datagram, port, address)
}).bind(7)`

/** Has the address 192.0.2.7 for every name. */
const ZONE = `
const socket = require('node:dgram').createSocket('udp4')
process.on('SIGTERM', () => process.exit())
socket.on('message', (asked, { port, address }) => {
  const question = asked.subarray(12, asked.indexOf(0, 12) + 5)
  const header = Buffer.concat([asked.subarray(0, 2), Buffer.from([0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0])])
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 7])
  socket.send(Buffer.concat([header, question, record]), port, address)
}).bind(53)`

/** HOST PORT SIZE…: each to come back as it went, and from where it went. */
const TRY = `
const crypto = require('node:crypto'), dns = require('node:dns/promises')
const [host, port, ...sizes] = process.argv.slice(1)
const main = async () => {
  const { address } = await dns.lookup(host, 4)
  const socket = require('node:dgram').createSocket('udp4')
  for (const size of sizes.map(Number)) {
    const datagram = crypto.randomBytes(size)
    const back = new Promise((resolve) => socket.on('message', (heard, from) => {
      if (heard.equals(datagram) && from.address === address && from.port === +port) resolve()
    }))
    const again = setInterval(() => socket.send(datagram, port, address), 1000)
    socket.send(datagram, port, address)
    await back
    clearInterval(again)
    socket.removeAllListeners('message')
  }
  console.log('all came back')
}
setTimeout(() => process.exit(1), 20000).unref()
main().then(() => process.exit())`

/** HOST PORT: asks \`who\`, all the time from one port, and says who answers. */
const KEEP_ASKING = `
const [host, port] = process.argv.slice(1)
require('node:dns').lookup(host, 4, (_, address) => {
  const socket = require('node:dgram').createSocket('udp4')
  socket.on('message', (heard) => console.log(String(heard)))
  setInterval(() => socket.send('who', port, address), 50)
})`

const LOOK_UP = `require('node:dns').lookup(process.argv[1], 4, (_, at) => console.log(at))`

/** OWN HOST PORT: one datagram that says it comes from OWN. */
const FORGE = `
const [own, host, port] = process.argv.slice(1)
const socket = require('node:dgram').createSocket('udp4')
socket.bind(0, own, () => socket.send('forged', port, host, () => process.exit()))`

/** NAME of a server: what it says of another name. */
const RESOLVE = `
const dns = require('node:dns/promises')
dns.lookup(process.argv[1], 4).then(async ({ address }) => {
  const resolver = new dns.Resolver({ timeout: 1000, tries: 10 })
  resolver.setServers([address])
  console.log((await resolver.resolve4('meter.street.example')).join())
})`

test(
  'datagrams - by name and by `forward`: of any size, to another replica when one dies, over a restart of the daemon',
  { timeout: 180_000 },
  async (t) => {
    const { nodes } = await createFleet(t, await createLab(4, t))
    const [one, two, three] = nodes as [FleetNode, FleetNode, FleetNode]
    const program = (name: string, script: string, over: object): object => ({
      ...{ name, image: 'local/node:20', command: ['node', '-e', script] },
      ...over
    })
    const echoes = { replicas: 2, maxReplicasPerNode: 1, constraints: ['node!=n1'] }
    const app = await writeApp(one.host.dir, 'shop', [
      { name: 'asker', ...idle, image: 'local/node:20', node: 'n1' },
      program('echo', ECHO, { ports: ['7/udp'], ...echoes }),
      program('zone', ZONE, { ports: ['53/udp'], node: 'n2' })
    ])
    const deployed = await one.brume('deploy', '-f', app)
    t.is(deployed.code, 0, said(deployed))

    const sizes = ['1', '0', '1400', '9000', '65507']
    const tried = await inAsker(one, TRY, 'echo', '7', ...sizes)
    t.is(tried.stdout, 'all came back\n', said(tried))
    const resolved = await inAsker(one, RESOLVE, 'zone')
    t.is(resolved.stdout, '192.0.2.7\n', said(resolved))

    await t.test('datagrams - who forges the address of another reaches nobody', async (t) => {
      const other = await writeApp(one.host.dir, 'other', [
        { name: 'forger', ...idle, image: 'local/node:20', node: 'n1' }
      ])
      t.is((await one.brume('deploy', '-f', other)).code, 0)
      const virtual = (await inAsker(one, LOOK_UP, 'echo')).stdout.trim()
      const asker = (await inspected(one, 'asker')).address
      const { pid } = await inspected(one, 'forger')
      const inForger = ['-t', String(pid), '-n']
      await run('nsenter', [...inForger, 'ip', 'addr', 'add', `${asker}/32`, 'dev', 'lo'])
      const before = await openedOf(one, 'echo')
      await run('nsenter', [...inForger, 'node', '-e', FORGE, '--', asker, virtual, '7'])
      await inAsker(one, TRY, 'echo', '7', '1')
      t.is(await openedOf(one, 'echo'), before + 1, 'the flow of who is who it says')
    })

    const heard = keepAsking(t, one)
    await waitUntil(() => heard.length > 0)
    const first = heard[0] ?? ''
    const [slot, node] = first.split(' ')
    const on = node === two.id ? two : three
    const { replicas } = await one.json<ServiceNetJson>('net', 'shop/echo')
    t.ok(replicas.some((each) => String(each.slot) === slot && each.flows >= 1))
    const dead = await containerOf(on, 'echo')
    const killedMs = performance.now()
    await dockerApi(on.dockerSocket ?? '', 'POST', `/containers/${dead.id}/kill`)
    await waitUntil(() => heard.at(-1) !== first)
    t.comment(`another answers ${Math.round(performance.now() - killedMs)} ms after one was killed`)
    t.not(heard.at(-1)?.split(' ')[1], node)

    await one.kill()
    heard.length = 0
    await one.start()
    await waitUntil(() => heard.length > 0, 30_000)

    const at = await forward(t, one, 'shop/echo', '8007:7/udp')
    t.is(at, '127.0.0.1:8007 → shop/echo port 7/udp\n')
    const from = await one.host.exec('node', ['-e', TRY, '--', '127.0.0.1', '8007', ...sizes])
    t.is(from.stdout, 'all came back\n', said(from))
    const { flows } = await one.json<StatusJson>('status')
    const echo = flows.find(({ microservice }) => microservice === 'echo')
    t.ok((echo?.opened ?? 0) >= 2 && (echo?.paths.lan ?? 0) >= 2, JSON.stringify(echo))
    t.is(echo?.dropped, 0)
  }
)

async function openedOf(on: FleetNode, name: string): Promise<number> {
  const { flows } = await on.json<StatusJson>('status')
  return flows.find(({ microservice }) => microservice === name)?.opened ?? 0
}

async function inspected(on: FleetNode, name: string): Promise<{ pid: number; address: string }> {
  const { id } = await containerOf(on, name)
  const { body } = await dockerApi(on.dockerSocket ?? '', 'GET', `/containers/${id}/json`)
  const { State, NetworkSettings } = body as {
    State: { Pid: number }
    NetworkSettings: { Networks: Record<string, { IPAddress: string }> }
  }
  const [network] = Object.values(NetworkSettings.Networks)
  return { pid: State.Pid, address: network?.IPAddress ?? '' }
}

async function containerOf(on: FleetNode, name: string): Promise<Container> {
  const all = await on.containers()
  const found = all.find(({ labels }) => labels['brume.microservice'] === name)
  if (found === undefined) throw new Error(`${on.name} runs no ${name}`)
  return found
}

async function inAsker(
  on: FleetNode,
  script: string,
  ...args: string[]
): ReturnType<FleetNode['host']['exec']> {
  return on.host.exec('docker', await execArgs(on, script, args))
}

async function execArgs(on: FleetNode, script: string, args: string[]): Promise<string[]> {
  const { id } = await containerOf(on, 'asker')
  return ['-H', `unix://${on.dockerSocket}`, 'exec', id, 'node', '-e', script, '--', ...args]
}

/** Who answers, from then on. */
function keepAsking(t: Assert, on: FleetNode): string[] {
  const heard: string[] = []
  void execArgs(on, KEEP_ASKING, ['echo', '7']).then((args) => {
    const child = on.host.spawn('docker', args, { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => end(child))
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      heard.push(...text.split('\n').filter((line) => line !== ''))
    })
  })
  return heard
}

/** What it says first; it ends with the test. */
async function forward(t: Assert, on: FleetNode, ...args: string[]): Promise<string> {
  const [program = '', ...given] = on.command.argv
  const stdio = ['ignore', 'pipe', 'inherit'] as const
  const child = on.host.spawn(program, [...given, 'forward', ...args], {
    env: on.command.env,
    stdio: [...stdio]
  })
  t.teardown(() => end(child))
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (more: string) => (text += more))
  await waitUntil(() => text.includes('\n'), 30_000)
  return text
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGINT')
  await waitUntil(() => child.exitCode !== null || child.signalCode !== null)
}
