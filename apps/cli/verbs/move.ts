/** `brume move` and `brume rebalance`: replicas go elsewhere because a person says so. */
import type { MoveRequest, RebalanceResult, RefJson, ReplicaJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { tellOffline } from '../offline.ts'
import { usage } from '../options.ts'
import { replicaName, replicaTable, table, type Column } from '../print.ts'
import type { Verb } from '../verb.ts'

export const move: Verb<{ ref: string; node: string | null }, ReplicaJson> = {
  describe(command) {
    command
      .argument('<ref>', 'APP/MICROSERVICE/SLOT, or what has one replica')
      .argument('[node]', 'name of the node to run it, or the beginning of its id')
      .option('--undo', 'it may stay where it is')
  },

  parse([ref = '', node], { undo }) {
    if (node === undefined && undo !== true) {
      throw usage(`move: where to? brume move ${ref} NODE`, 'brume nodes')
    }
    return { ref, node: undo === true ? null : (node ?? null) }
  },

  async request({ ref, node }, { client }) {
    const found = await client.get<RefJson>(withQuery('/resolve', { ref }))
    const { application, microservice, slot } = await oneSlot(found, ref, client)
    const body: MoveRequest = { node }
    return client.post(`/replicas/${application}/${microservice}/${slot}/move`, body)
  },

  print(replica, { out, now }) {
    out.write(replicaTable([replica], out, now()))
  }
}

export const rebalance: Verb<{ dryRun: boolean }, RebalanceResult> = {
  describe(command) {
    command.option('--dry-run', 'only show what would move')
  },

  parse: (_, { dryRun }) => ({ dryRun: dryRun === true }),

  request: ({ dryRun }, { client }) =>
    client.post(withQuery('/rebalance', dryRun ? { 'dry-run': '1' } : {}), {}),

  print({ moves, offline }, context) {
    if (moves.length === 0) context.err.write('replicas are spread as evenly as they can be\n')
    else context.out.write(table(moves, COLUMNS, context.out))
    tellOffline(offline, context)
  },

  exitCode: ({ offline }) => (offline.length > 0 ? 4 : 0)
}

const COLUMNS: Column<RebalanceResult['moves'][number]>[] = [
  { title: 'APPLICATION/MICROSERVICE/SLOT', cell: replicaName },
  { title: 'FROM', cell: ({ from }) => from },
  { title: 'TO', cell: ({ to }) => to }
]

/** A reference without a slot does where there is only one. */
async function oneSlot(
  { application, microservice, slot }: RefJson,
  ref: string,
  client: { get<T>(path: string): Promise<T> }
): Promise<{ application: string; microservice: string; slot: number }> {
  if (microservice !== null && slot !== null) return { application, microservice, slot }
  const all = await client.get<ReplicaJson[]>(withQuery('/replicas', { ref }))
  const names = new Set(all.map(replicaName))
  const [only] = all
  if (only !== undefined && names.size === 1) return only
  throw usage(`move: ${ref} has ${names.size} replicas; say which`, `brume ps ${ref}`)
}
