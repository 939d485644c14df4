/**
 * Real daemons behind real NATs. What is asserted is the path that was taken, as `brume net` says
 * it, not only that there is one.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'brittle'
import type { NetJson, NodeJson } from '../../apps/api.ts'
import { createFleet, untilTogether, type FleetNode } from '../helpers/fleet.ts'
import { createLab, type Host } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { answering, writeApp } from './apps.ts'

const row = (all: NetJson[], name: string): NetJson | undefined =>
  all.find((each) => each.name === name)

/** Waits for a link of `from` to `to` and says what `brume net` does. */
async function pathTo(
  from: FleetNode,
  to: string,
  holds: (row: NetJson) => boolean,
  ms = 30_000
): Promise<NetJson> {
  const all = await from.until<NetJson[]>(
    ['net'],
    (rows) => rows.some((each) => each.name === to && holds(each)),
    ms
  )
  return row(all, to) as NetJson
}

test(
  'net - behind NATs: easy ones are punched, symmetric ones relayed at once by a member that is open',
  { timeout: 180_000 },
  async (t) => {
    const lab = await createLab(
      {
        lans: [
          { router: 'easy', hosts: 1 },
          { router: 'easy', hosts: 1 },
          { router: 'symmetric', hosts: 1 },
          { router: 'symmetric', hosts: 1 }
        ],
        open: 2
      },
      t
    )
    // n1 is the open one: it lets the others in.
    const { nodes } = await createFleet(t, lab, { engines: false, on: [4, 0, 1, 2, 3] })
    const [open, easy, , symmetric] = nodes as [FleetNode, FleetNode, FleetNode, FleetNode]
    const me = row(await open.json<NetJson[]>('net'), 'n1')
    t.is(me?.nat, 'open')

    const punched = await pathTo(easy, 'n3', ({ path }) => path === 'direct')
    t.is(punched.why, 'punched: both NATs keep ports')
    t.is(punched.nat, 'easy')
    const relayed = await pathTo(
      symmetric,
      'n5',
      ({ path, nat }) => path !== 'down' && nat !== 'unknown'
    )
    t.is(relayed.path, 'relayed')
    t.is(relayed.via, 'n1')
    t.is(relayed.nat, 'symmetric')
    t.is(relayed.why, 'neither NAT keeps ports, so none can be punched')
    const mixed = await pathTo(easy, 'n4', ({ path }) => path !== 'down')
    t.ok(mixed.path === 'direct' || mixed.via === 'n1', mixed.why)

    const app = await writeApp(easy.host.dir, 'shop', [
      { name: 'punched', command: answering('from n3'), ports: ['80'], node: 'n3' },
      { name: 'relayed', command: answering('from n5'), ports: ['80'], node: 'n5' }
    ])
    t.is((await easy.brume('deploy', '-f', app)).code, 0)
    t.alike(await flow(easy, 'shop/punched', 'n3', 'direct'), { answer: 'from n3', via: null })
    t.alike(await flow(symmetric, 'shop/relayed', 'n5', 'relayed'), {
      answer: 'from n5',
      via: 'n1'
    })
  }
)

/**
 * What a replica of another node answers by way of `forward`, once that takes this path. On the way there
 * no flow may stand still: none says that the node cannot be reached.
 */
async function flow(
  on: FleetNode,
  ref: string,
  peer: string,
  path: string
): Promise<{ answer: string | null; via: string | null | undefined }> {
  const { argv, env } = on.command
  const [program = process.execPath, ...given] = argv
  const forward = on.host.spawn(program, [...given, 'forward', ref, '8080:80'], { env })
  let said = ''
  forward.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text))
  try {
    let answer: string | null = null
    let tunnel: NetJson['tunnel'] = null
    await waitUntil(async () => {
      answer = await on.get(8080).catch(() => null)
      tunnel = row(await on.json<NetJson[]>('net'), peer)?.tunnel ?? null
      return answer !== null && tunnel?.path === path
    }, 30_000)
    if (said.includes('cannot be reached')) throw new Error(said)
    return { answer, via: (tunnel as NetJson['tunnel'])?.via }
  } finally {
    forward.kill('SIGINT')
  }
}

test(
  'net - the relay of a link dies: it goes on through another, by itself',
  { timeout: 120_000 },
  async (t) => {
    const lab = await createLab(
      {
        lans: [
          { router: 'symmetric', hosts: 1 },
          { router: 'symmetric', hosts: 1 }
        ],
        open: 3
      },
      t
    )
    const { nodes } = await createFleet(t, lab, { engines: false, on: [2, 3, 0, 1] })
    const [first, second, left, right] = nodes as [FleetNode, FleetNode, FleetNode, FleetNode]
    for (const node of [left, right]) {
      const relays = (rows: NetJson[]): boolean =>
        ['n1', 'n2'].every((name) => row(rows, name)?.nat === 'open')
      await node.until<NetJson[]>(['net'], relays)
    }
    const before = await pathTo(left, 'n4', ({ path }) => path === 'relayed')
    t.ok(['n1', 'n2'].includes(before.via ?? ''), before.why)
    const [carrier, other] = before.via === 'n1' ? [first, second] : [second, first]

    await carrier.kill()
    const killedMs = performance.now()
    const isMoved = ({ path, via }: NetJson): boolean => path === 'relayed' && via === other.name
    await pathTo(left, 'n4', isMoved)
    t.comment(`relayed by another ${Math.round(performance.now() - killedMs)} ms after the kill`)
    await pathTo(right, 'n3', isMoved)
    t.is((await other.brume('node', 'label', left.name, 'still=here')).code, 4)
    const labelled = (all: NodeJson[]): boolean =>
      all.some(({ name, labels }) => name === left.name && labels['still'] === 'here')
    await right.until<NodeJson[]>(['nodes'], labelled)
  }
)

test(
  'net - a link that had to be relayed is direct soon after its routers can be punched',
  { timeout: 120_000 },
  async (t) => {
    const lab = await createLab(
      {
        lans: [
          { router: 'leaky', hosts: 1 },
          { router: 'leaky', hosts: 1 }
        ],
        open: 2
      },
      t
    )
    const { nodes } = await createFleet(t, lab, { engines: false, on: [2, 0, 1] })
    const [, left] = nodes as [FleetNode, FleetNode]
    const relayed = await pathTo(left, 'n3', ({ path }) => path === 'relayed')
    t.is(relayed.via, 'n1')
    await Promise.all([lab.mend(0), lab.mend(1)])
    const mendedMs = performance.now()
    const direct = await pathTo(left, 'n3', ({ path }) => path === 'direct', 60_000)
    t.comment(`direct ${Math.round(performance.now() - mendedMs)} ms later`)
    t.is(direct.why, 'punched: both NATs keep ports')
  }
)

test(
  'net - a LAN with no internet and no bootstrap: nodes join, part, and merge',
  { timeout: 180_000 },
  async (t) => {
    const lab = await createLab({ lans: [{ router: 'none', hosts: 4 }], open: 0 }, t)
    const fleet = await createFleet(t, lab, { engines: false, on: [0, 1, 2], dht: false })
    const [one, two, three] = fleet.nodes as [FleetNode, FleetNode, FleetNode]
    for (const name of ['n2', 'n3']) {
      const way = await pathTo(one, name, ({ path }) => path !== 'down')
      t.is(way.path, 'lan')
      t.is(way.why, 'both are on one network')
    }

    await t.test(
      'net - off loopback a daemon listens on its DHT, its data port and mDNS only',
      async (t) => {
        const { tcp, udp } = await listening(one)
        t.alike(tcp, [49737], 'the data port')
        t.ok(udp.includes(5353), 'mDNS')
        t.ok(udp.includes(49737), 'the DHT')
        const rest = udp.filter((port) => port !== 5353 && port !== 49737)
        t.ok(rest.length <= 1, `the DHT’s other socket, for what it asks: ${rest.join(' ')}`)
      }
    )

    await three.cut()
    await one.until<NodeJson[]>(['nodes'], (all) => all.some(({ state }) => state === 'lost'))
    await fleet.add(3)
    await two.until<NodeJson[]>(['nodes'], (all) => all.length === 4)
    t.is((await three.json<NodeJson[]>('nodes')).length, 3, 'it has not heard')
    await three.heal()
    const healedMs = performance.now()
    await untilTogether(fleet.nodes, 30_000)
    t.comment(`together ${Math.round(performance.now() - healedMs)} ms after healing`)
    t.is((await pathTo(three, 'n4', ({ path }) => path !== 'down')).path, 'lan')

    await two.kill()
    await one.until<NodeJson[]>(['nodes'], (all) => all.some(({ state }) => state === 'lost'))
    await two.start()
    const upMs = performance.now()
    await untilTogether(fleet.nodes, 30_000)
    t.comment(`together ${Math.round(performance.now() - upMs)} ms after coming up again`)
  }
)

test(
  'net - a node named with --peer lets in where multicast is lost and no other DHT node exists',
  { timeout: 120_000 },
  async (t) => {
    const lab = await createLab({ lans: [{ router: 'none', hosts: 2 }], open: 0 }, t)
    const [first] = lab.hosts as [Host]
    for (const { namespace } of lab.hosts) await dropMulticast(namespace)
    const fleet = await createFleet(t, lab, { engines: false, on: [0], dht: false })
    const added = await fleet.add(1, '--peer', `${first.ip}:49737`)
    await untilTogether(fleet.nodes)
    t.is((await pathTo(added, 'n1', ({ path }) => path !== 'down')).path, 'lan')
  }
)

test('net - hosts whose firewalls let nothing in are punched', { timeout: 120_000 }, async (t) => {
  const lab = await createLab(3, t)
  await Promise.all([lab.deny(0), lab.deny(1)])
  const { nodes } = await createFleet(t, lab, { engines: false })
  const [one] = nodes as [FleetNode]
  t.is((await pathTo(one, 'n2', ({ path }) => path !== 'down')).path, 'lan')
})

/** Ports that sockets of a host's namespace listen on, but for those of loopback. */
async function listening({ host }: FleetNode): Promise<{ tcp: number[]; udp: number[] }> {
  const ports = async (kind: string): Promise<number[]> => {
    const { stdout } = await host.exec('ss', ['-Hln', kind])
    const local = stdout.split('\n').flatMap((line) => line.split(/\s+/)[3] ?? [])
    const open = local.filter((address) => !/^(?:127\.|\[::1\])/.test(address))
    return open.map((address) => Number(address.split(':').at(-1))).filter(Number.isInteger)
  }
  return { tcp: await ports('-t'), udp: await ports('-u') }
}

async function dropMulticast(namespace: string): Promise<void> {
  const rule = ['-A', 'INPUT', '-d', '224.0.0.0/4', '-j', 'DROP']
  await promisify(execFile)('nsenter', [`--net=${namespace}`, '--', 'iptables', '-w', ...rule])
}
