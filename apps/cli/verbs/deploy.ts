import type {
  BundleResult,
  DeployRequest,
  DeployResult,
  NodeJson,
  ReplicaJson,
  ServiceRequest,
  ServiceResult
} from '../../api.ts'
import { withQuery } from '../../client.ts'
import { readPacked, type Packed } from '../packed.ts'
import { tellOffline } from '../offline.ts'
import { usage, waiting, type Waiting } from '../options.ts'
import { oneLine, replicaTable } from '../print.ts'
import { revisionsOf, settle } from '../settle.ts'
import type { Context, Verb } from '../verb.ts'

interface Input extends Waiting {
  applications: Packed[]
  services: ServiceRequest[]
}

const REV = /^[0-9a-f]{6,16}$/

export interface DeployAnswer extends DeployResult {
  replicas: ReplicaJson[]
}

type Answer = DeployAnswer | ServiceResult

/** One thing deployed is not a list of one. */
export const deploy: Verb<Input, Answer | Answer[]> = {
  describe(command) {
    command
      .requiredOption('-f, --file <path>', 'application file, or a directory of them')
      .option('-d, --detach', 'do not wait until it runs')
      .option('--if-rev <rev>', 'only if the application is still at this revision')
      .option('--timeout <duration>', 'give up when nothing changes for so long', '5m')
  },

  async parse(_, options, context) {
    const { applications, services } = await readPacked(String(options.file), context)
    if (applications.length + services.length === 0) {
      throw usage(`${String(options.file)} holds no application`)
    }
    const ifRev = options.ifRev as string | undefined
    if (ifRev !== undefined) demand(ifRev, applications)
    return { applications, services, ...waiting(options) }
  },

  async request({ applications, services, detach, timeoutMs }, context) {
    const answers: Answer[] = []
    // First, for what runs may ask for them as soon as it is up.
    for (const service of services) {
      const result = await context.client.post<ServiceResult>('/services', service)
      tellOffline(result.offline, context)
      answers.push(result)
    }
    for (const packed of applications) {
      const result = await send(packed, timeoutMs, context)
      if (!detach) {
        await settle(goal(packed, result), { timeoutMs, doing: 'deploying' }, context)
      }
      tellOffline(result.offline, context)
      const path = withQuery('/replicas', { ref: result.application })
      const replicas = await context.client.get<ReplicaJson[]>(path)
      await warnOfNames(replicas, context)
      answers.push({ ...result, replicas })
    }
    const [only] = answers
    return only && answers.length === 1 ? only : answers
  },

  print(answer, { out, now }) {
    const answers = [answer].flat()
    for (const each of answers) {
      if ('replicas' in each) continue
      const { application, name, change, line } = each
      out.write(`${application}/${name} ${change}${line === '' ? '' : `: ${oneLine(line)}`}\n`)
    }
    const applications = answers.filter((each) => 'replicas' in each)
    if (applications.length === 0) return
    const replicas = applications.flatMap((each) => each.replicas)
    out.write(replicaTable(replicas, out, now()))
  },

  exitCode: (answer) => ([answer].flat().some((a) => a.offline.length > 0) ? 4 : 0)
}

/** What is one of many may ask for the others; whether it can is known once it was started. */
async function warnOfNames(replicas: ReplicaJson[], { client, err }: Context): Promise<void> {
  if (new Set(replicas.map(({ microservice }) => microservice)).size < 2) return
  const used = new Set(replicas.map(({ node }) => node))
  for (const { name, names } of await client.get<NodeJson[]>('/nodes')) {
    if (names !== null && used.has(name)) err.write(`warning: ${name}: ${names}\n`)
  }
}

/** @throws BrumeError USAGE where one revision cannot be meant. */
function demand(ifRev: string, applications: Packed[]): void {
  if (!REV.test(ifRev)) {
    throw usage(
      `--if-rev: expected 6 to 16 hex digits as \`brume describe\` shows them, got "${ifRev}"`
    )
  }
  const [only, ...more] = applications
  if (only === undefined || more.length > 0) {
    throw usage('--if-rev: there is more than one application, and a revision is of one')
  }
  only.request.ifRev = ifRev
}

async function send(
  { request, bundles }: Packed,
  silentMs: number,
  { client, err }: Context
): Promise<DeployResult> {
  const sent = new Map<Buffer, BundleResult>()
  const microservices = [...request.microservices]
  for (const [i, tar] of bundles) {
    const microservice = microservices[i]
    if (!microservice) continue
    if (!sent.has(tar)) err.write(`sending the files of ${microservice.name}\n`)
    const { digest, bytes, core, blockOffset, blockLength, byteOffset } =
      sent.get(tar) ??
      (await client.upload<BundleResult>('/bundles', 'application/x-tar', tar, { silentMs }))
    const files = { digest, bytes, core, blockOffset, blockLength, byteOffset }
    sent.set(tar, files)
    microservices[i] = { ...microservice, spec: { ...microservice.spec, files } }
  }
  const body: DeployRequest = { ...request, microservices }
  return await client.post<DeployResult>('/applications', body, { silentMs })
}

function goal(
  { request }: Packed,
  { application, changes, offline }: DeployResult
): Parameters<typeof settle>[0] {
  const microservices = new Map(
    request.microservices.map(({ name, spec }) => [name, spec.replicas] as const)
  )
  return { application, microservices, revisions: revisionsOf(changes), exact: false, offline }
}
