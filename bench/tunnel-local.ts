/**
 * What a replica on the same node carries when it is reached through its name, beside the address of
 * its container: two containers of one application, one flow at a time, in turns. The name has to
 * lead to the container itself, else nothing counts.
 */
import { createClient } from '../apps/client.ts'
import type { MicroserviceSpec } from '../core/state/microservices.ts'
import { NODE } from '../test/helpers/docker.ts'
import { createFleet, type FleetNode } from '../test/helpers/fleet.ts'
import { createLab } from '../test/helpers/lab.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import type { During } from './bench.ts'
import { idleSpec } from './three-nodes.ts'

export interface LocalRates {
  /** Mbit a second, of each round. */
  name: number[]
  address: number[]
}

const APPLICATION = 'local'
const PORT = 80
const RATE_MS = 1_000
const SOURCE = `
const bytes = Buffer.alloc(65536, 'brume')
require('node:net').createServer((socket) => {
  const pour = () => { while (!socket.destroyed && socket.write(bytes)); }
  socket.on('error', () => {}).on('drain', pour)
  pour()
}).listen(${PORT})
process.on('SIGTERM', () => process.exit())`
const IDLE = "setInterval(() => {}, 1e6), process.on('SIGTERM', () => process.exit())"
/** Prints where the name leads, or what arrives from there. */
const ASK = `
const [what, host] = process.argv.slice(1)
if (what === 'lookup') require('node:dns').lookup(host, { all: true, family: 4 }, (failed, found) =>
  console.log(JSON.stringify(failed ? [] : found.map(({ address }) => address))))
else {
  let bytes = 0, from
  require('node:net').connect(${PORT}, host).on('data', (chunk) => {
    from ??= performance.now()
    bytes += chunk.length
    const ms = performance.now() - from
    if (ms < ${RATE_MS}) return
    console.log(bytes * 8 / 1000 / ms)
    process.exit()
  })
}`

export async function measureLocal(rounds: number, { say }: During): Promise<LocalRates> {
  const down: (() => unknown)[] = []
  const teardown = (fn: () => unknown): void => void down.unshift(fn)
  try {
    say('one daemon with an engine')
    const lab = await createLab(2)
    teardown(() => lab.stop())
    const { nodes } = await createFleet({ teardown }, lab)
    return await measure(nodes[0] as FleetNode, rounds, say)
  } finally {
    for (const fn of down) await fn()
  }
}

async function measure(node: FleetNode, rounds: number, say: During['say']): Promise<LocalRates> {
  const spec = (command: string[]): MicroserviceSpec => ({
    ...idleSpec(1),
    image: NODE,
    command,
    ports: [{ container: PORT, host: null, protocol: 'tcp' }]
  })
  const microservices = [
    { name: 'source', spec: spec(['node', '-e', SOURCE]) },
    { name: 'asker', spec: { ...spec(['node', '-e', IDLE]), ports: [] } }
  ]
  await createClient(node.dataDir).post('/applications', {
    application: APPLICATION,
    microservices
  })
  const docker = async (...args: string[]): Promise<string> => {
    const all = ['-H', `unix://${node.dockerSocket}`, ...args]
    const { code, stdout, stderr } = await node.host.exec('docker', all)
    if (code !== 0) throw new Error(`docker ${args[0]}: ${stderr.trim()}`)
    return stdout.trim()
  }
  const idOf = async (microservice: string): Promise<string | undefined> =>
    (await node.containers()).find(
      ({ running, labels }) => running && labels['brume.microservice'] === microservice
    )?.id
  let ids: (string | undefined)[] = []
  await waitUntil(async () => {
    ids = await Promise.all([idOf('source'), idOf('asker')])
    return ids.every((id) => id !== undefined)
  }, 60_000)
  const [source, asker] = ids as [string, string]
  const ask = (...args: string[]): Promise<string> =>
    docker('exec', asker, 'node', '-e', ASK, '--', ...args)
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'
  const address = await docker('inspect', '--format', format, source)
  let led = ''
  await waitUntil(async () => (led = await ask('lookup', 'source')) !== '[]', 60_000, 200)
  if (led !== JSON.stringify([address])) throw new Error(`${led} is not ${address}, the container`)
  const rates: LocalRates = { name: [], address: [] }
  for (let i = 0; i < rounds; i++) {
    rates.name.push(Number(await ask('rate', 'source')))
    rates.address.push(Number(await ask('rate', address)))
  }
  say(
    `  name ${rates.name.map(Math.round).join(' ')}, address ${rates.address.map(Math.round).join(' ')} Mbit/s`
  )
  return rates
}
