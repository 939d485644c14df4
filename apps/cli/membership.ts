/** What `init` and `join` share: options, and a daemon that is started for them and only for them. */
import { hostname } from 'node:os'
import type { Command } from 'commander'
import { BrumeError } from '../../core/errors.ts'
import { NAME } from '../../core/state/names.ts'
import type { EngineChoice, InitResult, JoinRequest } from '../api.ts'
import { startDaemon } from './background.ts'
import { address, collect, labels, usage } from './options.ts'
import { pairs } from './print.ts'
import type { Context, Options } from './verb.ts'

export type Membership = Omit<JoinRequest, 'key'>

const ENGINES: EngineChoice[] = ['auto', 'docker', 'process', 'none']

export function describeMembership(command: Command): void {
  command
    .option('--name <name>', 'name of this node (default: the host name)')
    .option('--label <key=value>', 'label of this node; may be repeated', collect)
    .option('--engine <engine>', `what runs containers: ${ENGINES.join(', ')}`, 'auto')
    .option(
      '--peer <host:port>',
      'the DHT address of a member to try first (port 49737 unless taken); may be repeated',
      collect
    )
    .option(
      '--bootstrap <host:port>',
      'a DHT node instead of the public ones; may be repeated',
      collect
    )
    .option('--no-relay', 'carry no packets for members that cannot reach each other')
    .option('--no-names', 'give containers no names of microservices, and set no packet rules')
}

export function parseMembership(options: Options): Membership {
  const engine = options.engine as EngineChoice
  if (!ENGINES.includes(engine)) {
    throw usage(`--engine: expected one of ${ENGINES.join(', ')}, got "${engine}"`)
  }
  return {
    name: nodeName(options.name as string | undefined),
    labels: labels((options.label as string[] | undefined) ?? []),
    engine,
    peers: addresses(options.peer, '--peer'),
    bootstrap: addresses(options.bootstrap, '--bootstrap'),
    relay: options.relay !== false,
    names: options.names !== false
  }
}

/** Starts a daemon if none runs; if it did and the request fails, nothing of it is left. */
export async function requestMembership(
  path: '/init' | '/join',
  body: object,
  context: Context
): Promise<InitResult> {
  const { client, err } = context
  const daemon = await startDaemon(client, context)
  if (daemon.started) err.write('daemon started\n')
  // Ctrl-C must not leave a daemon that waits for a mesh.
  const signal = daemon.started ? context.interrupt() : undefined
  try {
    return await client.progress<InitResult>(path, body, (line) => err.write(`${line}\n`), {
      ...(signal ? { signal } : {})
    })
  } catch (error) {
    const reason = signal?.aborted === true ? interrupted(path) : error
    await daemon.undo(reason)
    throw reason
  }
}

export function printMembership(result: InitResult, { out, err }: Context): void {
  for (const warning of result.warnings) err.write(`warning: ${warning}\n`)
  const entries: [string, string][] = [
    ['name', result.name],
    ['id', result.id],
    ['mesh', result.mesh],
    ['role', result.role]
  ]
  if (result.key !== null) entries.push(['key', result.key])
  out.write(pairs(entries))
}

/** A host name as a node's name: `Pi-1.local` is `pi-1`. */
export function nameOf(host: string): string | null {
  const label = host.toLowerCase().split('.')[0] ?? ''
  const name = label.replaceAll(/[^a-z0-9-]+/g, '-').slice(0, 63)
  const trimmed = name.replaceAll(/^-+|-+$/g, '')
  return NAME.test(trimmed) ? trimmed : null
}

function nodeName(asked: string | undefined): string {
  if (asked === undefined) {
    const name = nameOf(hostname())
    if (name !== null) return name
    throw usage(`the host name "${hostname()}" makes no node name: choose one with --name`)
  }
  if (NAME.test(asked)) return asked
  const close = nameOf(asked)
  throw usage(
    `--name: expected lower-case letters, digits and dashes, got "${asked}"`,
    close === null ? undefined : `--name ${close}`
  )
}

const addresses = (given: unknown, option: string): string[] =>
  ((given as string[] | undefined) ?? []).map((text) => address(text, option))

const interrupted = (path: string): Error =>
  new BrumeError('INTERRUPTED', `${path.slice(1)} was interrupted; nothing of it is left`, {
    exitCode: 130
  })
