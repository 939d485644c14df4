/** `brume service …`: the daemon as a unit of systemd, root's or a user's own. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'
import { BrumeError, sentenceOf } from '../../../core/errors.ts'
import { makeDataDir } from '../../paths.ts'
import { commandFor } from '../../client.ts'
import { activeOf, hasSystemd, systemctl, whereFor, type Place } from '../systemd.ts'
import { unitText } from '../unit.ts'
import type { Context, Verb } from '../verb.ts'

interface Service extends Place {
  installed: boolean
  /** As systemd says: `active`, `inactive`, `failed`; null where it is not asked. */
  active: string | null
  /** For people: what else to do. */
  hints: string[]
}

export const serviceInstall: Verb<{ print: boolean }, Service & { text: string; shown: boolean }> =
  {
    describe(command) {
      command.option('--print', 'print the unit, change nothing')
    },

    parse: (_, options) => ({ print: options.print === true }),

    async request({ print }, context) {
      const { unit, path, scope } = whereFor(context)
      const { command, env } = context.daemon
      const text = unitText({ dataDir: context.dataDir, command, env, scope })
      if (print) {
        const installed = existsSync(path)
        return { unit, path, scope, installed, active: null, hints: [], text, shown: true }
      }
      await mustHaveSystemd(context)
      // A daemon of `brume up` holds the directory: the service's own would end at once, again and again.
      const running = await context.client.hello()
      if (
        running !== null &&
        running !== undefined &&
        (await activeOf(unit, context)) !== 'active'
      ) {
        throw new BrumeError(
          'ALREADY_RUNNING',
          `a daemon that was started by hand (process ${running.pid}) runs on ${context.dataDir}`,
          { next: `${commandFor(context.dataDir, 'down')}, then install again; containers stay` }
        )
      }
      makeDataDir(context.dataDir)
      write(path, text)
      await systemctl(context, 'daemon-reload')
      await systemctl(context, 'enable', unit)
      await systemctl(context, 'restart', unit)
      const active = await activeOf(unit, context)
      return {
        unit,
        path,
        scope,
        installed: true,
        active,
        hints: hintsFor(scope),
        text,
        shown: false
      }
    },

    print({ unit, path, text, shown, hints }, { out, err }) {
      if (shown) return out.write(text)
      out.write(`installed and started: ${unit} (${path})\n`)
      for (const hint of hints) err.write(`next: ${hint}\n`)
    }
  }

export const serviceUninstall: Verb<null, Service> = {
  describe() {},

  parse: () => null,

  async request(_, context) {
    const { unit, path, scope } = whereFor(context)
    if (!existsSync(path)) throw notInstalled(unit, path)
    await mustHaveSystemd(context)
    await systemctl(context, 'disable', '--now', unit)
    rmSync(path)
    await systemctl(context, 'daemon-reload')
    return { unit, path, scope, installed: false, active: null, hints: [] }
  },

  print({ unit }, { out }) {
    out.write(`stopped and removed: ${unit}; data and containers stay\n`)
  }
}

export const serviceStatus: Verb<null, Service> = {
  describe() {},

  parse: () => null,

  async request(_, context) {
    const { unit, path, scope } = whereFor(context)
    const installed = existsSync(path)
    const active = installed && hasSystemd(context.env) ? await activeOf(unit, context) : null
    const current = installed && readFileSync(path, 'utf8') === textFor(context, scope)
    const hints =
      installed && !current ? ['the unit is of another brume: brume service install'] : []
    return { unit, path, scope, installed, active, hints }
  },

  print({ unit, path, installed, active, hints }, { out, err }) {
    if (!installed) return out.write(`${unit}: not installed (${path})\n`)
    out.write(`${unit}: ${active ?? 'installed; there is no systemd to ask'} (${path})\n`)
    for (const hint of hints) err.write(`${hint}\n`)
  }
}

const textFor = ({ dataDir, daemon: { command, env } }: Context, scope: Service['scope']): string =>
  unitText({ dataDir, command, env, scope })

async function mustHaveSystemd({ env }: Context): Promise<void> {
  if (hasSystemd(env)) return Promise.resolve()
  throw new BrumeError('NO_SYSTEMD', 'systemd does not run on this machine', {
    next: '`brume up` starts the daemon in the background; `brume daemon` is what another service manager runs, `brume service install --print` shows how'
  })
}

function write(path: string, text: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text, { mode: 0o644 })
  } catch (cause) {
    throw new BrumeError('SERVICE_FAILED', `cannot write the unit: ${sentenceOf(cause)}`, { cause })
  }
}

function hintsFor(scope: Service['scope']): string[] {
  if (scope === 'system') return []
  return [
    `sudo loginctl enable-linger ${userInfo().username}, else the daemon ends when you log out and starts only when you log in`
  ]
}

const notInstalled = (unit: string, path: string): BrumeError =>
  new BrumeError('NOT_INSTALLED', `${unit} is not installed: there is no ${path}`, {
    next: 'brume service install'
  })
