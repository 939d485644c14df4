/** Images of a Docker engine. */
import type { Readable } from 'node:stream'
import { connect, type Connection } from './connection.ts'
import { brumeErrorOf, refusalOf } from './refusal.ts'
import { drainProgress } from './streams.ts'

/**
 * Makes image `name` of the files in `tar`. `changes` are Dockerfile lines: `CMD ["/bin/sh"]`.
 *
 * @throws BrumeError ENGINE_UNREACHABLE, ENGINE_FORBIDDEN, ENGINE_FAILED
 */
export async function importImage(
  socketPath: string,
  tar: Readable,
  name: string,
  changes: string[] = []
): Promise<void> {
  const connection = await connect(socketPath)
  const [repo, tag] = repositoryAndTag(name)
  try {
    const options = { repo, tag, changes }
    const progress = await connection.docker.importImage(tar, options)
    await drainProgress(progress)
  } catch (error) {
    tar.destroy()
    throw await brumeErrorOf(error, `import image ${name}`, socketPath)
  } finally {
    connection.close()
  }
}

/** Whether the engine behind `socketPath` answers, and has image `name`. */
export async function hasImage(socketPath: string, name: string): Promise<boolean> {
  const connection = await connect(socketPath)
  try {
    await connection.ping()
    return await isThere(connection, name)
  } finally {
    connection.close()
  }
}

export async function isThere(connection: Connection, image: string): Promise<boolean> {
  try {
    await connection.ask(
      `look for image ${image}`,
      () => connection.docker.getImage(image).inspect(),
      { raw: true }
    )
    return true
  } catch (error) {
    if (refusalOf(error).status === 404) return false
    throw await brumeErrorOf(error, `look for image ${image}`, connection.socketPath)
  }
}

function repositoryAndTag(name: string): [string, string] {
  const colon = name.lastIndexOf(':')
  return colon > name.lastIndexOf('/')
    ? [name.slice(0, colon), name.slice(colon + 1)]
    : [name, 'latest']
}
