/** From arguments to an exit code. Only the file of the verb that was asked for is loaded. */
import { Command, CommanderError } from 'commander'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import type { ErrorJson } from '../api.ts'
import { createClient } from '../client.ts'
import { dataDir } from '../paths.ts'
import { VERSION } from '../version.ts'
import { DetailedError, type Context, type Options, type Verb, type World } from './verb.ts'

type AnyVerb = Verb<unknown, unknown>

/** Nouns that have verbs of their own; one that is a verb too is among VERBS. */
const GROUPS: Record<string, string> = {
  node: 'name, label, rank, remove nodes',
  invite: 'keys for one node or some, with a role and an end',
  service: "this node's daemon under systemd: started at boot, and again when it ends",
  conflict: 'decide about concurrent edits',
  rollout: 'how far a new revision is, and how it goes on'
}

/** In the order of help: first steps, then daily work. */
const VERBS: Record<string, { summary: string; load: () => Promise<unknown> }> = {
  init: {
    summary: 'start a new mesh with this node as its first',
    load: async () => (await import('./verbs/init.ts')).init
  },
  join: {
    summary: 'join a mesh by its key',
    load: async () => (await import('./verbs/join.ts')).join
  },
  key: {
    summary: 'show the mesh key, which lets other nodes join',
    load: async () => (await import('./verbs/key.ts')).key
  },
  'key rotate': {
    summary: 'change the mesh key; the old one lets nobody in any more',
    load: async () => (await import('./verbs/key.ts')).keyRotate
  },
  lock: {
    summary: 'let nobody in by the mesh key, by invites only',
    load: async () => (await import('./verbs/lock.ts')).lock
  },
  unlock: {
    summary: 'let holders of the mesh key in again',
    load: async () => (await import('./verbs/lock.ts')).unlock
  },
  'invite new': {
    summary: 'make an invite, and show it',
    load: async () => (await import('./verbs/invite.ts')).inviteNew
  },
  'invite ls': {
    summary: 'list invites, open, used and revoked',
    load: async () => (await import('./verbs/invite.ts')).inviteLs
  },
  'invite rm': {
    summary: 'revoke an invite',
    load: async () => (await import('./verbs/invite.ts')).inviteRm
  },
  leave: {
    summary: 'take this node out of its mesh, with all it runs',
    load: async () => (await import('./verbs/leave.ts')).leave
  },
  deploy: {
    summary: 'run an application from its file, and wait until it runs',
    load: async () => (await import('./verbs/deploy.ts')).deploy
  },
  plan: {
    summary: 'show what a deploy would change, and where things would run',
    load: async () => (await import('./verbs/plan.ts')).plan
  },
  ps: {
    summary: 'list replicas: where they run and how they do',
    load: async () => (await import('./verbs/ps.ts')).ps
  },
  logs: {
    summary: 'show the logs of replicas, on any node',
    load: async () => (await import('./verbs/logs.ts')).logs
  },
  forward: {
    summary: 'lead a port of this machine to a replica, on whichever node it runs',
    load: async () => (await import('./verbs/forward.ts')).forward
  },
  scale: {
    summary: 'change how many replicas of a microservice run',
    load: async () => (await import('./verbs/scale.ts')).scale
  },
  stop: {
    summary: 'stop an application or a microservice; it stays known',
    load: async () => (await import('./verbs/run-state.ts')).stop
  },
  start: {
    summary: 'run again what was stopped',
    load: async () => (await import('./verbs/run-state.ts')).start
  },
  restart: {
    summary: 'make the containers of an application or a microservice anew, a few at a time',
    load: async () => (await import('./verbs/run-state.ts')).restart
  },
  'rollout status': {
    summary: 'show how far new revisions are, and why they stand',
    load: async () => (await import('./verbs/rollout.ts')).rolloutStatus
  },
  'rollout pause': {
    summary: 'let no more slots take the new revision',
    load: async () => (await import('./verbs/rollout.ts')).rolloutPause
  },
  'rollout resume': {
    summary: 'let a rollout that is paused go on',
    load: async () => (await import('./verbs/rollout.ts')).rolloutResume
  },
  'rollout promote': {
    summary: 'let the others follow the canaries',
    load: async () => (await import('./verbs/rollout.ts')).rolloutPromote
  },
  rollback: {
    summary: 'go back to an earlier revision of a microservice',
    load: async () => (await import('./verbs/rollback.ts')).rollback
  },
  move: {
    summary: 'let a replica run on another node',
    load: async () => (await import('./verbs/move.ts')).move
  },
  rebalance: {
    summary: 'spread replicas evenly over the nodes that are there now',
    load: async () => (await import('./verbs/move.ts')).rebalance
  },
  rm: {
    summary: 'remove an application or a microservice',
    load: async () => (await import('./verbs/rm.ts')).rm
  },
  apps: {
    summary: 'list applications',
    load: async () => (await import('./verbs/apps.ts')).apps
  },
  services: {
    summary: 'list services outside the mesh, and which nodes reach them',
    load: async () => (await import('./verbs/services.ts')).services
  },
  describe: {
    summary: 'show all there is to know of an application or microservice',
    load: async () => (await import('./verbs/describe.ts')).describe
  },
  explain: {
    summary: 'say why replicas are where they are, and which nodes may run one more',
    load: async () => (await import('./verbs/explain.ts')).explain
  },
  events: {
    summary: 'show what the Controller did and why, and go on with it',
    load: async () => (await import('./verbs/events.ts')).events
  },
  history: {
    summary: 'show what was changed in an application, by whom and when',
    load: async () => (await import('./verbs/history.ts')).history
  },
  conflicts: {
    summary: 'list edits that were made without sight of each other',
    load: async () => (await import('./verbs/conflicts.ts')).conflicts
  },
  'conflict keep': {
    summary: 'put the edit back that lost, or keep the one that stands',
    load: async () => (await import('./verbs/conflict-keep.ts')).conflictKeep
  },
  audit: {
    summary: 'list what people changed in the mesh: who, what, when',
    load: async () => (await import('./verbs/audit.ts')).audit
  },
  nodes: {
    summary: 'list the nodes of the mesh',
    load: async () => (await import('./verbs/nodes.ts')).nodes
  },
  'node ls': {
    summary: 'list the nodes of the mesh',
    load: async () => (await import('./verbs/nodes.ts')).nodes
  },
  'node label': {
    summary: 'set and remove labels of a node',
    load: async () => (await import('./verbs/node.ts')).nodeLabel
  },
  'node role': {
    summary: 'change what a node may do',
    load: async () => (await import('./verbs/node.ts')).nodeRole
  },
  'node rename': {
    summary: 'give a node another name',
    load: async () => (await import('./verbs/node.ts')).nodeRename
  },
  'node lost': {
    summary: 'give a node up: what it ran is replaced at once',
    load: async () => (await import('./verbs/node.ts')).nodeLost
  },
  'node cordon': {
    summary: 'let a node get no more replicas; it keeps what it has',
    load: async () => (await import('./verbs/node.ts')).nodeCordon
  },
  'node drain': {
    summary: 'send what a node runs elsewhere, and let it get nothing',
    load: async () => (await import('./verbs/drain.ts')).nodeDrain
  },
  'node undrain': {
    summary: 'let a node that was cordoned or drained get replicas again',
    load: async () => (await import('./verbs/node.ts')).nodeUndrain
  },
  'node approve': {
    summary: 'let a pending node in',
    load: async () => (await import('./verbs/node.ts')).nodeApprove
  },
  'node rm': {
    summary: 'remove a node for good, and the mesh key with it',
    load: async () => (await import('./verbs/node.ts')).nodeRm
  },
  'node dropped': {
    summary: 'list what removed nodes wrote and nobody heeds',
    load: async () => (await import('./verbs/node.ts')).nodeDropped
  },
  net: {
    summary: 'show the way to each member, or where calls of a microservice go, and why',
    load: async () => (await import('./verbs/net.ts')).net
  },
  status: {
    summary: 'show how this node does',
    load: async () => (await import('./verbs/status.ts')).status
  },
  recover: {
    summary: 'go on without nodes that confirmed the order of changes and are lost for good',
    load: async () => (await import('./verbs/recover.ts')).recover
  },
  upgrade: {
    summary: 'let the mesh use what the newest version of all its nodes can do',
    load: async () => (await import('./verbs/upgrade.ts')).upgrade
  },
  up: {
    summary: "start this node's daemon in the background",
    load: async () => (await import('./verbs/up.ts')).up
  },
  down: {
    summary: "stop this node's daemon; containers go on running",
    load: async () => (await import('./verbs/down.ts')).down
  },
  daemon: {
    summary: "run this node's daemon in the foreground",
    load: async () => (await import('./verbs/daemon.ts')).daemon
  },
  backup: {
    summary: 'write what the mesh runs into one file',
    load: async () => (await import('./verbs/backup.ts')).backup
  },
  restore: {
    summary: 'bring a mesh back from such a file',
    load: async () => (await import('./verbs/restore.ts')).restore
  },
  adopt: {
    summary: 'make a cloned data directory a node of its own',
    load: async () => (await import('./verbs/adopt.ts')).adopt
  },
  'service install': {
    summary: 'write a systemd unit for this node, and start it',
    load: async () => (await import('./verbs/service.ts')).serviceInstall
  },
  'service uninstall': {
    summary: 'stop that unit and remove it; data and containers stay',
    load: async () => (await import('./verbs/service.ts')).serviceUninstall
  },
  'service status': {
    summary: 'show whether it is installed and runs',
    load: async () => (await import('./verbs/service.ts')).serviceStatus
  }
}

export const VERB_NAMES: readonly string[] = Object.keys(VERBS)

/** Runs one command and gives its exit code. Does not throw: what went wrong is printed. */
export async function run(argv: string[], world: World): Promise<number> {
  const outcome = { exitCode: 0 }
  try {
    await createProgram(world, outcome).parseAsync(withHelpOption(argv), { from: 'user' })
    return outcome.exitCode
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0 || error.code === 'commander.help') return error.exitCode
      return report(usageError(error), argv.includes('--json'), world)
    }
    return report(error, argv.includes('--json'), world)
  }
}

function createProgram(world: World, outcome: { exitCode: number }): Command {
  const program = new Command('brume')
    .description('Edge computing without a server.')
    .version(VERSION, '-V, --version', 'show the version')
    .option('--data <dir>', 'data directory of the node (or BRUME_DATA)')
    .option('--json', 'print JSON; an error too, as { error: … }')
    .option('--no-color', 'no colours (or NO_COLOR)')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => world.out.write(text),
      writeErr: (text) => world.err.write(text),
      outputError: () => {},
      getOutHelpWidth: () => (world.out.isTTY ? world.out.columns : 100),
      getErrHelpWidth: () => (world.err.isTTY ? world.err.columns : 100),
      getOutHasColors: () => world.out.color,
      getErrHasColors: () => world.err.color
    })
    .exitOverride()
  const groups = new Map<string, Command>()
  for (const [name, { summary }] of Object.entries(VERBS)) {
    const [noun = '', verb] = name.split(' ')
    if (verb === undefined) {
      groups.set(noun, program.command(noun).description(summary))
      continue
    }
    const group = groups.get(noun) ?? program.command(noun).description(GROUPS[noun] ?? '')
    groups.set(noun, group.helpCommand(false))
    group.command(verb).description(summary)
  }
  // A verb is loaded when its command is come to: that of a group before that of its own verb.
  for (const parent of [program, ...groups.values()]) {
    parent.hook('preSubcommand', async (_, command) => {
      const name = parent === program ? command.name() : `${parent.name()} ${command.name()}`
      const known = VERBS[name]
      if (known === undefined) return
      const verb = (await known.load()) as AnyVerb
      verb.describe(command)
      // Without an action commander looks for the nearest verb; with one it counts arguments.
      if (takesOnlyVerbs(command) && parent.args[1]?.startsWith('-') === false) return
      command.action(async () => {
        const options: Options = command.optsWithGlobals()
        outcome.exitCode = await perform(verb, command.args, options, createContext(options, world))
      })
    })
  }
  return program
}

const takesOnlyVerbs = ({ commands, registeredArguments }: Command): boolean =>
  commands.length > 0 && registeredArguments.length === 0

async function perform(
  verb: AnyVerb,
  args: string[],
  options: Options,
  context: Context
): Promise<number> {
  const input = await verb.parse(args, options, context)
  const answer = await verb.request(input, context)
  if (context.json && verb.streams !== true) context.out.write(`${JSON.stringify(answer)}\n`)
  else await verb.print(answer, context, input)
  return verb.exitCode?.(answer) ?? 0
}

function createContext(options: Options, world: World): Context {
  const dir = dataDir(options.data as string | undefined, world.env)
  const uncolored = options.color === false
  // Not spread: getters of the world stay getters.
  return Object.assign(Object.create(world) as World, {
    dataDir: dir,
    client: createClient(dir),
    json: options.json === true,
    out: uncolored ? plain(world.out) : world.out,
    err: uncolored ? plain(world.err) : world.err
  })
}

const plain = (output: World['out']): World['out'] =>
  Object.assign(Object.create(output) as World['out'], { color: false })

/** `brume help ps` is `brume ps --help`: commander's own would not load the verb. */
function withHelpOption(argv: string[]): string[] {
  return argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv
}

function usageError(error: CommanderError): BrumeError {
  const [sentence = '', ...more] = error.message.replace(/^error: /, '').split('\n')
  const hint = more.join(' ').trim()
  return new BrumeError('USAGE', hint === '' ? sentence : `${sentence} ${hint}`, {
    next: 'brume --help'
  })
}

/** The sentence is for people and always on stderr; the object is data and on stdout. */
function report(error: unknown, json: boolean, world: World): number {
  const known = error instanceof BrumeError ? error : unexpected(error)
  world.err.write(`brume: ${known.message}\n`)
  if (known instanceof DetailedError) {
    for (const line of known.details) world.err.write(`  ${line}\n`)
  }
  if (known.next !== null) world.err.write(`  next: ${known.next}\n`)
  if (world.env.BRUME_DEBUG && error instanceof Error) world.err.write(`${error.stack}\n`)
  if (json) {
    const { code, message, next, exitCode } = known
    const value: ErrorJson = { error: { code, message, next, exitCode } }
    world.out.write(`${JSON.stringify(value)}\n`)
  }
  return known.exitCode
}

function unexpected(error: unknown): BrumeError {
  return new BrumeError('INTERNAL', `this command failed in itself: ${sentenceOf(error)}`, {
    next: 'run it again with BRUME_DEBUG=1 to see where'
  })
}
