import { createHash } from 'node:crypto'
import type { PlanRequest, PlanResult, ServiceRequest, ServiceResult } from '../../api.ts'
import { commandFor } from '../../client.ts'
import { readPacked, type Packed } from '../packed.ts'
import { oneLine } from '../print.ts'
import type { Context, Verb } from '../verb.ts'

interface Input {
  file: string
  applications: Packed[]
  services: ServiceRequest[]
}

/** Of applications, then of services outside. */
type Answer = (PlanResult | ServiceResult)[]

export const plan: Verb<Input, Answer> = {
  describe(command) {
    command.requiredOption('-f, --file <path>', 'application file, or a directory of them')
  },

  async parse(_, { file }, context) {
    return { file: String(file), ...(await readPacked(String(file), context)) }
  },

  request: ({ applications, services }, { client }) =>
    Promise.all([
      ...applications.map((packed) => client.post<PlanResult>('/plan', requestOf(packed))),
      ...services.map((each) => client.post<ServiceResult>('/services?dry-run=1', each))
    ]),

  print(all, context, { file }) {
    for (const one of all) {
      if ('microservices' in one) show(one, context)
      else showService(one, context)
    }
    const next = commandFor(context.dataDir, `deploy -f ${file}`)
    context.out.write(all.some(changes) ? `next: ${next}\n` : 'nothing would change\n')
  },

  exitCode: (all) => (all.some(changes) ? 2 : 0)
}

const changes = (one: Answer[number]): boolean =>
  'microservices' in one
    ? one.microservices.some(({ change }) => change !== 'unchanged')
    : one.change !== 'unchanged'

/** Files are named by their digest; where their blocks lie is not known before they are sent. */
function requestOf({ request, bundles }: Packed): PlanRequest {
  const files = (tar: Buffer | undefined): PlanRequest['microservices'][number]['files'] =>
    tar === undefined
      ? null
      : { digest: createHash('sha256').update(tar).digest('hex'), bytes: tar.length }
  return {
    application: request.application,
    microservices: request.microservices.map((m, i) => ({ ...m, files: files(bundles.get(i)) }))
  }
}

function show({ application, microservices }: PlanResult, { out }: Context): void {
  for (const { name, change, line, rollout, placements, waiting, halves } of microservices) {
    out.write(`${application}/${name} ${change}${line === '' ? '' : `: ${oneLine(line)}`}\n`)
    if (rollout !== null) out.write(`  rolled out ${rollout}\n`)
    for (const { slot, node, reason } of placements) {
      out.write(`  slot ${slot} on ${node}: ${oneLine(reason)}\n`)
    }
    for (const { slot, reason } of waiting) {
      out.write(`  slot ${slot} is not placed: ${oneLine(reason)}\n`)
    }
    if (halves !== null && change !== 'unchanged') {
      const each = halves / 2
      out.write(
        `  ${halves} nodes fit: split into ${each} and ${each}, both sides run it until they meet\n`
      )
    }
  }
}

function showService({ application, name, change, line }: ServiceResult, { out }: Context): void {
  out.write(`${application}/${name} ${change}${line === '' ? '' : `: ${oneLine(line)}`}\n`)
}
