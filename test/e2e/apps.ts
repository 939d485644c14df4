/** Application files for these tests. */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const HELLO = fileURLToPath(new URL('../../apps/examples/hello/app.yaml', import.meta.url))

export const HELLO_FILES = join(dirname(HELLO), 'web')

/** One that runs until it is told to stop, and stops at once. */
export const idle = {
  image: 'local/busybox:1',
  command: ['sh', '-c', 'trap "exit 0" TERM; sleep 100000 & wait']
}

/** A process that answers every HTTP request with `text`. */
export const answering = (text: string): string[] => [
  'node',
  '-e',
  `require('node:http').createServer((q, r) => r.end(${JSON.stringify(text)})).listen(process.env.PORT)`
]

/** Writes `NAME.yaml` into `dir`: JSON is YAML too. @returns its path */
export async function writeApp(
  dir: string,
  name: string,
  microservices: object[]
): Promise<string> {
  const file = { apiVersion: 'brume/v1', kind: 'Application', metadata: { name } }
  await mkdir(dir, { recursive: true })
  const path = join(dir, `${name}.yaml`)
  await writeFile(path, JSON.stringify({ ...file, spec: { microservices } }, null, 2))
  return path
}
