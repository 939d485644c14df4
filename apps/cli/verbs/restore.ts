import { existsSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { BrumeError } from '../../../core/errors.ts'
import type { BackupHead, BundleResult, DeployRequest, InitResult } from '../../api.ts'
import { bundlesOf, readBackup } from '../backup-file.ts'
import {
  describeMembership,
  parseMembership,
  printMembership,
  requestMembership,
  type Membership
} from '../membership.ts'
import type { Context, Verb } from '../verb.ts'

interface Wish extends Membership {
  file: string
  fresh: boolean
}

interface Answer extends InitResult {
  /** The mesh of the backup is there no more: this is another one that runs the same. */
  fresh: boolean
  applications: string[]
}

const NOBODY = new Set(['JOIN_TIMEOUT'])

export const restore: Verb<Wish, Answer> = {
  describe(command) {
    command.argument('<file>', 'what `brume backup` wrote')
    describeMembership(command)
    command
      .option('--new', 'do not look for members: make a new mesh that runs the same')
      .addHelpText(
        'after',
        '\nWhere a member of the mesh is in reach, this node joins it as a new node; the mesh knows better\n' +
          'than the file. Else it makes a new mesh, with an id and a key of its own, that runs the same:\n' +
          'nobody can write for the nodes that are gone. Nodes of the old mesh do not come over by themselves.'
      )
  },

  parse: ([file = ''], options) => ({
    ...parseMembership(options),
    file: resolve(file),
    fresh: options.new === true
  }),

  async request({ file, fresh, ...membership }, context) {
    const head = await readBackup(file)
    mustBeEmpty(context.dataDir)
    const bootstrap = membership.bootstrap.length > 0 ? membership.bootstrap : head.bootstrap
    const joined = fresh ? null : await join(head, { ...membership, bootstrap }, context)
    if (joined !== null) return { ...joined, fresh: false, applications: [] }
    const { labels: own = {} } = head.nodes.find(({ name }) => name === membership.name) ?? {}
    const labels = { ...own, ...membership.labels }
    const wish = { ...membership, bootstrap, labels, defaultRole: head.defaultRole }
    const made = await requestMembership('/init', wish, context)
    const applications = await deployAll(file, head, context)
    return { ...made, fresh: true, applications }
  },

  print(answer, context) {
    const { out, err } = context
    printMembership(answer, context)
    if (!answer.fresh) return err.write('joined the mesh of the backup, which lives\n')
    for (const name of answer.applications) out.write(`restored: ${name}\n`)
    err.write(
      'this is a new mesh: its other nodes have to join it by the key above, and labels of theirs are to be set again\n'
    )
  }
}

/** Null where nobody of that mesh is in reach. */
async function join(
  head: BackupHead,
  wish: Membership,
  context: Context
): Promise<InitResult | null> {
  if (head.key === null) return null
  try {
    return await requestMembership('/join', { ...wish, key: head.key }, context)
  } catch (error) {
    if (!(error instanceof BrumeError) || !NOBODY.has(error.code)) throw error
    context.err.write('nobody of that mesh is in reach: making a new one that runs the same\n')
    return null
  }
}

async function deployAll(
  file: string,
  head: BackupHead,
  { client, err }: Context
): Promise<string[]> {
  const bundles = new Map<string, BundleResult>()
  for await (const { digest, tar } of bundlesOf(file)) {
    err.write(`files ${digest.slice(0, 12)}\n`)
    bundles.set(digest, await client.upload<BundleResult>('/bundles', 'application/x-tar', tar))
  }
  for (const { application, microservices } of head.applications) {
    const request: DeployRequest = {
      application,
      microservices: microservices.map(({ name, spec }) => {
        const files = spec.files === null ? null : (bundles.get(spec.files.digest) ?? spec.files)
        return { name, spec: { ...spec, files } }
      })
    }
    await client.post('/applications', request)
  }
  for (const service of head.services ?? []) await client.post('/services', service)
  return head.applications.map(({ application }) => application)
}

function mustBeEmpty(dir: string): void {
  if (!existsSync(dir) || readdirSync(dir).length === 0) return
  throw new BrumeError('NOT_EMPTY', `${dir} is not empty: a restore makes a node anew`, {
    next: 'choose another --data directory, or `brume leave --purge` first'
  })
}
