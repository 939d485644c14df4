import { readFile, stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { BrumeError } from '../../../core/errors.ts'
import { deviceMissing as noDevice, pathMissing } from '../missing.ts'

/** What a failed request said, freed of the client library's own words. */
export interface Refusal {
  /** HTTP status; null when no answer came. */
  status: number | null
  /** Node's error code where there is one: ECONNREFUSED, EACCES, … */
  code: string | null
  /** Docker's own sentence. */
  sentence: string
}

export function refusalOf(error: unknown): Refusal {
  const { statusCode, code, json, message } = error as {
    statusCode?: number
    code?: string
    json?: { message?: unknown } | null
    message?: string
  }
  const own = typeof json?.message === 'string' ? json.message : (message ?? String(error))
  return {
    status: statusCode ?? null,
    code: code ?? null,
    sentence: own.replace(/^\(HTTP code \d+\) [^-]* - /, '').trim()
  }
}

/** `doing` is the act in the user's words: `start brume-ab12cd-shop-web-0-1f2e3d`. */
export async function brumeErrorOf(
  error: unknown,
  doing: string,
  socketPath: string
): Promise<BrumeError> {
  if (error instanceof BrumeError) return error
  const refusal = refusalOf(error)
  if (refusal.status === null) {
    if (refusal.code === 'EACCES' || refusal.code === 'EPERM') return forbidden(socketPath, error)
    return unreachable(socketPath, refusal.sentence, error)
  }
  return (
    portInUse(refusal.sentence, error) ??
    deviceMissing(refusal.sentence, error) ??
    volumeMissing(refusal.sentence, error) ??
    commandNotFound(refusal.sentence, error) ??
    new BrumeError('ENGINE_FAILED', `could not ${doing}: ${refusal.sentence}`, { cause: error })
  )
}

export function unreachable(socketPath: string, why: string, cause?: unknown): BrumeError {
  return new BrumeError('ENGINE_UNREACHABLE', `Docker does not answer at ${socketPath}: ${why}`, {
    next: 'start Docker (`sudo systemctl start docker`), or run this node with `--engine process`',
    cause
  })
}

/** For a frozen engine and for a call that was given up. */
export function noAnswer(socketPath: string, doing: string, ms: number): BrumeError {
  return unreachable(socketPath, `no answer within ${ms / 1000} s to: ${doing}`)
}

async function forbidden(socketPath: string, cause: unknown): Promise<BrumeError> {
  const user = userInfo().username
  const group = await groupOf(socketPath)
  return new BrumeError(
    'ENGINE_FORBIDDEN',
    group === null
      ? `user ${user} may not use Docker's socket ${socketPath}`
      : `user ${user} may not use Docker's socket ${socketPath}, which belongs to group ${group}`,
    {
      next:
        group === null
          ? `give ${user} access to ${socketPath}`
          : `\`sudo usermod -aG ${group} ${user}\`, then log in again and restart the node`,
      cause
    }
  )
}

/** The name of the group that owns the socket, its number if it has none, null if it can't be seen. */
async function groupOf(socketPath: string): Promise<string | null> {
  try {
    const { gid } = await stat(socketPath)
    const groups = await readFile('/etc/group', 'utf8').catch(() => '')
    const line = groups.split('\n').find((each) => each.split(':')[2] === String(gid))
    return line?.split(':')[0] ?? String(gid)
  } catch (error) {
    if (['EACCES', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
}

const IN_USE = /port is already allocated|address already in use/

function portInUse(sentence: string, cause: unknown): BrumeError | null {
  if (!IN_USE.test(sentence)) return null
  // `Bind for 0.0.0.0:80 failed: …`, `listen tcp4 0.0.0.0:80: bind: …`, `host port [::]:80/tcp: …`
  const port = /(?:\d+\.\d+\.\d+\.\d+|\]|:):(\d+)\b/.exec(sentence)?.[1]
  return new BrumeError(
    'PORT_IN_USE',
    port ? `port ${port} of this node is in use` : `a port of this node is in use: ${sentence}`,
    {
      next: `find who has it (\`ss -lptn${port ? ` sport = :${port}` : ''}\`), or choose another host port`,
      cause
    }
  )
}

/** `error gathering device information while adding custom device "/dev/ttyUSB0": no such file …` */
function deviceMissing(sentence: string, cause: unknown): BrumeError | null {
  const device = /custom device "([^"]+)": (?:no such file|not a device)/.exec(sentence)?.[1]
  return device === undefined ? null : noDevice(device, cause)
}

/** `invalid mount config for type "bind": bind source path does not exist: /srv/data` */
function volumeMissing(sentence: string, cause: unknown): BrumeError | null {
  const path = /bind source path does not exist: (\S+)/.exec(sentence)?.[1]
  return path === undefined ? null : pathMissing(path, cause)
}

function commandNotFound(sentence: string, cause: unknown): BrumeError | null {
  const command =
    /exec: "([^"]*)": (?:executable file not found|stat |permission denied)/.exec(sentence)?.[1] ??
    /(?:starting container process caused|exec).*"([^"]+)": (?:no such file or directory|executable file not found)/.exec(
      sentence
    )?.[1]
  if (command !== undefined) {
    return new BrumeError('COMMAND_NOT_FOUND', `command ${command} is not in the image`, {
      next: 'correct `command` in the application file, or use an image that has it',
      cause
    })
  }
  if (!/no command specified/i.test(sentence)) return null
  return new BrumeError('COMMAND_NOT_FOUND', 'the image has no command of its own', {
    next: 'give `command` in the application file',
    cause
  })
}
