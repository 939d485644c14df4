/**
 * Programs nobody here wrote, with their own clients, through tunnels of each path: PostgreSQL, Redis,
 * iperf3, curl, DNS and SSH on a machine that runs no brume and that only one node reaches.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ReplicaJson, ServiceNetJson } from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab, type Host, type LabPlan } from '../helpers/lab.ts'
import { sentenceOf } from '../../core/errors.ts'
import { writeApp } from '../e2e/apps.ts'
import { PROGRAMS, serving, type Program, type Shell } from './real-programs.ts'
import { withTeardown } from './teardown.ts'

export interface ProgramsResult {
  soak: 'programs'
  seed: number
  /** By path, then by program. */
  figures: Record<string, Record<string, Record<string, number>>>
  broken: string[]
}

interface Setting {
  plan: LabPlan
  /** Lab hosts of the gateway, the machine behind it, and the node of the clients; a relay more. */
  gateway: number
  device: number
  client: number
  relay?: number
}

/** By the path that flows take. */
const SETTINGS: Record<string, Setting> = {
  lan: { plan: { open: 4 }, gateway: 0, device: 1, client: 2 },
  direct: {
    plan: {
      lans: [
        { router: 'easy', hosts: 2 },
        { router: 'easy', hosts: 1 }
      ],
      open: 1
    },
    ...{ gateway: 0, device: 1, client: 2 }
  },
  relayed: {
    plan: {
      lans: [
        { router: 'symmetric', hosts: 2 },
        { router: 'symmetric', hosts: 1 }
      ],
      open: 2
    },
    ...{ gateway: 0, device: 1, client: 2, relay: 3 }
  }
}

export async function programs(options: {
  seed: number
  say: (line: string) => void
}): Promise<ProgramsResult> {
  const { seed, say } = options
  const result: ProgramsResult = { soak: 'programs', seed, figures: {}, broken: [] }
  for (const [path, setting] of Object.entries(SETTINGS)) {
    const figures: Record<string, Record<string, number>> = {}
    result.figures[path] = figures
    await withTeardown(async (t) => {
      const lab = await createLab(setting.plan, t)
      const { gateway, device, client, relay } = setting
      const on = [...(relay === undefined ? [] : [relay]), gateway, client]
      const { nodes } = await createFleet(t, lab, { engines: false, on })
      const [from, through] = [...nodes].reverse() as [FleetNode, FleetNode]
      const host = lab.hosts[device] as Host
      const ready = await present(host, result.broken)
      for (const program of ready) await program.serve(host)
      await Promise.all(ready.map(({ port }) => serving(host, port)))
      const shell = await shellOn(from, through, host)
      for (const program of ready) {
        try {
          const variable = `$BRUME_SERVICE_SITE_DEVICE_PORT_${program.port}${program.protocol === 'udp' ? '_UDP' : ''}`
          const [at = '', port = ''] = (await shell(`echo ${variable}`)).out.trim().split(':')
          figures[program.name] = await program.use(shell, at, Number(port), host)
          say(`${path} ${program.name} ${JSON.stringify(figures[program.name])}`)
        } catch (error) {
          result.broken.push(`${path} ${program.name}: ${sentenceOf(error)}`)
          say(result.broken.at(-1) ?? '')
        }
      }
      const way = await from.json<ServiceNetJson>('net', 'site/device')
      const taken = way.replicas[0]?.path
      if (taken !== path) result.broken.push(`flows went ${taken}, not ${path}`)
    })
  }
  return result
}

async function present(on: Host, broken: string[]): Promise<Program[]> {
  const there: Program[] = []
  for (const program of PROGRAMS) {
    const { code } = await on.exec('sh', [
      '-c',
      program.needs.map((n) => `command -v ${n}`).join(' && ')
    ])
    if (code === 0) there.push(program)
    else broken.push(`${program.name} is not installed: apt-get install ${program.packaged}`)
  }
  return there
}

/** POST a line of shell: its exit code, what it printed and how long it took. */
const SHELL = `
const http = require('node:http')
const { spawn } = require('node:child_process')
http.createServer((request, response) => {
  let line = ''
  request.on('data', (data) => (line += data)).on('end', () => {
    const began = performance.now()
    const child = spawn('sh', ['-c', line], { stdio: ['ignore', 'pipe', 'inherit'] })
    let out = ''
    child.stdout.on('data', (data) => (out += data))
    child.on('close', (code) =>
      response.end(JSON.stringify({ code, out, ms: performance.now() - began })))
  })
}).listen(process.env.PORT)`

/** Of a microservice on the node of the clients, which is told where the programs are. */
async function shellOn(from: FleetNode, through: FleetNode, device: Host): Promise<Shell> {
  const service = {
    apiVersion: 'brume/v1',
    kind: 'Service',
    metadata: { name: 'device', application: 'site' },
    spec: {
      host: device.ip,
      ports: PROGRAMS.map(({ port, protocol = 'tcp' }) => `${port}/${protocol}`),
      node: through.name,
      allow: ['clients']
    }
  }
  const file = join(from.host.dir, 'device.yaml')
  await writeFile(file, JSON.stringify(service))
  await deploy(from, file)
  const app = await writeApp(from.host.dir, 'clients', [
    { name: 'shell', command: ['node', '-e', SHELL], ports: ['80'], node: from.name }
  ])
  await deploy(from, app)
  const [row] = await from.json<ReplicaJson[]>('ps', 'clients/shell')
  const at = `http://127.0.0.1:${row?.ports[0]?.host ?? 0}`
  return async (line) => {
    const args = ['-sSf', '--max-time', '170', '--data-binary', '@-', at]
    const { code, stdout, stderr } = await from.host.exec('curl', args, {
      input: line,
      timeoutMs: 180_000
    })
    if (code !== 0) throw new Error(`${line.slice(0, 120)}: ${stderr.trim()}`)
    return JSON.parse(stdout) as Awaited<ReturnType<Shell>>
  }
}

async function deploy(on: FleetNode, file: string): Promise<void> {
  const { code, stderr } = await on.brume('deploy', '-f', file)
  if (code !== 0) throw new Error(`deploy ended with ${code}: ${stderr.trim()}`)
}
