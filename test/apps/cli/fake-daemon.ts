/** A daemon that answers what a test scripts, on the socket of a data directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { ReplicaJson, WatchedReplica } from '../../../apps/api.ts'
import { run } from '../../../apps/cli/run.ts'
import type { Output, World } from '../../../apps/cli/verb.ts'
import { serve, type ApiAnswer, type ApiRequest, type Route } from '../../../apps/daemon/socket.ts'
import { socketPath } from '../../../apps/paths.ts'
import { silent } from '../../../core/logger.ts'

export type Script = Record<string, (request: ApiRequest) => ApiAnswer | Promise<ApiAnswer>>

interface Teardown {
  teardown(fn: () => unknown): void
}

export async function tempDir(t: Teardown): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'brume-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** @param script by `METHOD /path`. */
export async function fakeDaemon(
  t: Teardown,
  script: Script,
  options: { version?: string; dir?: string } = {}
): Promise<string> {
  const dir = options.dir ?? (await tempDir(t))
  const routes = Object.entries(script).map(([key, handle]): Route => {
    const [method, path = '/'] = key.split(' ')
    return {
      method: method as Route['method'],
      path,
      handle: async (request) => handle(request)
    }
  })
  const server = await serve(socketPath(dir), routes, { mode: 0o600, log: silent, ...options })
  t.teardown(() => server.close())
  return dir
}

export interface Ran {
  code: number
  out: string
  err: string
}

export interface WorldOptions extends Partial<Omit<World, 'out' | 'err' | 'stdin'>> {
  tty?: { columns: number; rows: number }
  color?: boolean
  input?: string
}

/** Runs a command in this process, on pipes unless `tty` is given. */
export async function cli(argv: string[], options: WorldOptions = {}): Promise<Ran> {
  const out = capture(options)
  const err = capture(options)
  const code = await run(argv, {
    out: out.output,
    err: err.output,
    stdin: Object.assign(Readable.from([options.input ?? '']), {
      isTTY: options.tty !== undefined
    }),
    env: {},
    now: () => NOW,
    interrupt: () => new AbortController().signal,
    daemon: { command: ['/bin/false'], env: {} },
    ...options
  })
  return { code, out: out.text(), err: err.text() }
}

export const NOW = Date.parse('2026-01-01T12:00:00Z')

export function capture({ tty, color }: Pick<WorldOptions, 'tty' | 'color'> = {}): {
  output: Output
  text: () => string
} {
  let text = ''
  const output: Output = {
    write: (more) => {
      text += more
    },
    isTTY: tty !== undefined,
    columns: tty?.columns ?? 80,
    rows: tty?.rows ?? 24,
    color: color ?? false
  }
  return { output, text: () => text }
}

export function replica(fields: Partial<ReplicaJson> = {}): ReplicaJson {
  return {
    application: 'hello',
    microservice: 'web',
    slot: 0,
    node: 'pi-1',
    state: 'running',
    healthy: null,
    since: '2026-01-01T11:57:00Z',
    image: 'local/node:20',
    ports: [],
    exposed: [],
    reason: null,
    ...fields
  }
}

/** Wanted and, while it runs, of the wanted revision. */
export function watched(fields: Partial<WatchedReplica> = {}): WatchedReplica {
  const row = replica(fields)
  return {
    revision: row.state === 'running' ? 'aaaa' : null,
    wanted: 'aaaa',
    checked: false,
    ...row,
    ...fields
  }
}
