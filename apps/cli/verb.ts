/** What a verb is: four parts, always in this order. And what it is given. */
import type { Readable } from 'node:stream'
import type { Command } from 'commander'
import { BrumeError } from '../../core/errors.ts'
import type { Client } from '../client.ts'
import type { Env } from '../paths.ts'

export interface Verb<Input, Answer> {
  /** Its arguments and options. */
  describe(command: Command): void
  /** What was typed, checked, before anything is asked of anybody. */
  parse(args: string[], options: Options, context: Context): Input | Promise<Input>
  request(input: Input, context: Context): Promise<Answer>
  /** For people; with --json the answer itself is printed instead. */
  print(answer: Answer, context: Context, input: Input): void | Promise<void>
  /** Prints its own JSON, because the answer never ends. */
  streams?: boolean
  /** 0 where this is not given. */
  exitCode?(answer: Answer): number
}

export type Options = Record<string, unknown>

/** One end of the terminal. */
export interface Output {
  write(text: string): void
  isTTY: boolean
  /** Characters a line; only of meaning on a TTY. */
  columns: number
  rows: number
  color: boolean
}

/** What of the machine a command sees. */
export interface World {
  out: Output
  err: Output
  stdin: Readable
  env: Env
  /** Wall ms. */
  now: () => number
  /** Aborted on Ctrl-C; from the first call on, that no longer ends the process by itself. */
  interrupt(): AbortSignal
  /** The command line that runs a daemon; `--data DIR --json` is added. */
  daemon: { command: string[]; env: Env }
}

export interface Context extends World {
  dataDir: string
  client: Client
  json: boolean
}

/** An error with more lines to show between its sentence and its next step. */
export class DetailedError extends BrumeError {
  readonly details: string[]

  constructor(
    code: string,
    message: string,
    details: string[],
    options: { next?: string; exitCode?: number }
  ) {
    super(code, message, options)
    this.details = details
  }
}
