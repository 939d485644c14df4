/** A disk that fills up or goes read-only under a daemon, as an ext4 in a file. Needs root. */
import test from 'brittle'
import { execFile } from 'node:child_process'
import { appendFile, mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { InitResult, NodeJson, StatusJson } from '../../apps/api.ts'
import { startBootstrapNode } from '../../core/swarm.ts'
import { createDisk } from '../helpers/disk.ts'
import { endProcessesOf } from '../helpers/leftovers.ts'
import { errorCode, nodeAt, type NodeAt } from '../helpers/node-at.ts'
import { waitUntil } from '../helpers/wait.ts'

const run = promisify(execFile)

test(
  'disk - full or read-only, the daemon says so, goes on living, and goes on by itself',
  { timeout: 300_000 },
  async (t) => {
    const base = await mkdtemp(join(tmpdir(), 'brume-full-'))
    const disk = await createDisk(t, join(base, 'disk'), 320 * 1024 * 1024)
    t.teardown(
      async () => {
        await endProcessesOf(`${base}/`)
        await rm(base, { recursive: true, force: true })
      },
      { order: 1, force: true }
    )
    const dht = await startBootstrapNode('127.0.0.1')
    t.teardown(() => dht.close(), { order: 2, force: true })
    const options = ['--engine', 'none', '--bootstrap', dht.address]
    const attic = await nodeAt(join(base, 'attic'))
    const barn = await nodeAt(join(disk.path, 'barn'))
    const { key } = await barn.json<InitResult>('init', '--name', 'barn', ...options)
    await attic.json('join', key ?? '', '--name', 'attic', ...options)
    const { pid } = await barn.json<StatusJson>('status')
    const label = (node: NodeAt, text: string): ReturnType<NodeAt['brume']> =>
      node.brume('node', 'label', 'attic', text, '--json')
    const works = async (text: string): Promise<boolean> => {
      const { code } = await label(barn, text)
      return code === 0 || code === 4
    }

    const filler = join(disk.path, 'filler')
    const { bavail, bsize } = await statfs(disk.path)
    await run('fallocate', ['-l', String(bavail * bsize - 2 * 1024 * 1024), filler])
    t.is(errorCode(await label(barn, 'a=1')), 'DISK_FULL')
    t.ok((await barn.json<StatusJson>('status')).disk?.includes('is full'))
    t.is((await label(attic, 'b=1')).code, 0, 'the others go on')

    await fillUp(filler)
    for (let i = 0; i < 5; i++) await label(attic, `c=${'x'.repeat(200)}${i}`)
    const said = await barn.brume('status', '--json')
    t.ok(
      said.code === 0
        ? (JSON.parse(said.stdout) as StatusJson).disk !== null
        : errorCode(said) === 'DISK_FULL',
      said.stderr
    )

    await rm(filler)
    await waitUntil(() => works('d=1'), 60_000)
    t.is((await barn.json<StatusJson>('status')).pid, pid, 'one and the same process')
    const seen = async (node: NodeAt): Promise<string> => {
      const nodes = await node.json<NodeJson[]>('nodes')
      return JSON.stringify(nodes.find(({ name }) => name === 'attic')?.labels)
    }
    await waitUntil(async () => {
      const [here, there] = [await seen(barn), await seen(attic)]
      return here === there && here.includes('"d":"1"') && here.includes('"b":"1"')
    }, 60_000)

    await disk.fail()
    t.is(errorCode(await label(barn, 'e=1')), 'READ_ONLY')
    for (let i = 0; i < 3; i++) await label(attic, `f=${i}`)
    t.is(errorCode(await label(barn, 'e=1')), 'READ_ONLY', 'still, and still there')
    const down = await barn.brume('down', '--json')
    t.is(down.code, 0, down.stderr)
    t.is((JSON.parse(down.stdout) as { pid: number }).pid, pid)
  }
)

/** To the last byte. */
async function fillUp(path: string): Promise<void> {
  for (const bytes of [1 << 16, 1 << 12, 1 << 8]) {
    for (;;) {
      try {
        await appendFile(path, Buffer.alloc(bytes))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
        break
      }
    }
  }
}
