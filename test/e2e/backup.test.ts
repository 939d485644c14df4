import test from 'brittle'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { InitResult, NodeJson, ReplicaJson } from '../../apps/api.ts'
import { startBootstrapNode } from '../../core/swarm.ts'
import { endProcessesOf } from '../helpers/leftovers.ts'
import { errorCode, nodeAt } from '../helpers/node-at.ts'
import { waitUntil } from '../helpers/wait.ts'
import { HELLO } from './apps.ts'

interface Restored extends InitResult {
  fresh: boolean
  applications: string[]
}

test(
  'backup - one file brings a mesh back: into it where it lives, else as a new one that runs the same',
  { timeout: 240_000 },
  async (t) => {
    const base = await mkdtemp(join(tmpdir(), 'brume-backup-'))
    t.teardown(
      async () => {
        await endProcessesOf(`${base}/`)
        await rm(base, { recursive: true, force: true })
      },
      { force: true }
    )
    const dht = await startBootstrapNode('127.0.0.1')
    t.teardown(() => dht.close(), { order: 1, force: true })
    const options = ['--engine', 'process', '--bootstrap', dht.address]
    const attic = await nodeAt(join(base, 'attic'))
    const first = await attic.json<InitResult>(
      ...['init', '--name', 'attic', '--label', 'zone=roof', ...options]
    )
    t.is((await attic.brume('deploy', '-f', HELLO)).code, 0)
    const file = join(base, 'mesh.backup')
    await attic.json('backup', file)
    t.is((await stat(file)).mode & 0o777, 0o600)
    const identity = await readFile(join(attic.dir, 'identity'))
    const written = await readFile(file, 'utf8')
    for (const form of ['hex', 'base64'] as const)
      t.absent(written.includes(identity.toString(form)), 'no key of a node')

    const barn = await nodeAt(join(base, 'barn'))
    const joined = await barn.json<Restored>('restore', file, '--name', 'barn', ...options)
    t.alike([joined.fresh, joined.mesh], [false, first.mesh], 'the mesh lives: joined')
    t.is(errorCode(await barn.brume('restore', file, '--json')), 'NOT_EMPTY')

    const lines = written.split('\n')
    const bad: [string, string, string][] = [
      ['half', written.slice(0, written.length / 2), 'BACKUP_DAMAGED'],
      ['cut', `${lines.slice(0, -2).join('\n')}\n`, 'BACKUP_DAMAGED'],
      ['changed', written.replace('"roof"', '"rook"'), 'BACKUP_DAMAGED'],
      ['more', `${written}{}\n`, 'BACKUP_DAMAGED'],
      ['newer', written.replace('"format":1', '"format":9'), 'BACKUP_NEWER'],
      ['other', 'hello\n', 'NO_BACKUP'],
      ['empty', '', 'NO_BACKUP']
    ]
    const nowhere = await nodeAt(join(base, 'nowhere'))
    for (const [name, text, code] of bad) {
      const path = join(base, name)
      await writeFile(path, text)
      t.is(errorCode(await nowhere.brume('restore', path, '--json')), code, name)
    }
    t.is(
      errorCode(await nowhere.brume('restore', join(base, 'none'), '--json')),
      'BACKUP_UNREADABLE'
    )

    await endProcessesOf(`${base}/`)
    const again = await nodeAt(join(base, 'again'))
    const made = await again.json<Restored>('restore', file, '--new', '--name', 'attic', ...options)
    t.alike([made.fresh, made.applications], [true, ['hello']])
    t.not(made.mesh, first.mesh)
    const [node] = await again.json<NodeJson[]>('nodes')
    t.is(node?.labels.zone, 'roof', 'the labels of the node of that name')
    await waitUntil(async () => {
      const rows = await again.json<ReplicaJson[]>('ps')
      return rows.length === 3 && rows.every(({ state }) => state === 'running')
    }, 60_000)
  }
)
