/**
 * A power cut, as a disk sees it: the node lives on an ext4 in a file, which is copied while it is
 * mounted and written to. The copy lacks all that was not synced; the node starts from it. Needs root.
 */
import test from 'brittle'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { InitResult, NodeJson, StatusJson } from '../../apps/api.ts'
import { startBootstrapNode } from '../../core/swarm.ts'
import { createDisk } from '../helpers/disk.ts'
import { endProcessesOf } from '../helpers/leftovers.ts'
import { nodeAt, type NodeAt } from '../helpers/node-at.ts'
import { waitUntil } from '../helpers/wait.ts'

const CUTS = 2

test(
  'power cut - nothing acknowledged is lost, and the node goes on where its peers know it to be',
  { timeout: 400_000 },
  async (t) => {
    const base = await mkdtemp(join(tmpdir(), 'brume-cut-'))
    const disk = await createDisk(t, join(base, 'disk'), 192 * 1024 * 1024)
    t.teardown(
      async () => {
        await endProcessesOf(`${base}/`)
        await rm(base, { recursive: true, force: true })
      },
      { order: 1, force: true }
    )
    const dht = await startBootstrapNode('127.0.0.1')
    t.teardown(() => dht.close(), { order: 2, force: true })
    const enter = (name: string): string[] => [
      ...['--name', name, '--engine', 'none', '--bootstrap', dht.address]
    ]
    const attic = await nodeAt(join(base, 'attic'))
    const barn = await nodeAt(join(disk.path, 'barn'))
    const { key } = await barn.json<InitResult>('init', ...enter('barn'))
    await attic.json('join', key ?? '', ...enter('attic'))

    let written = 0
    const write = async (): Promise<void> => {
      const { code, stderr } = await barn.brume('node', 'label', 'barn', `n=${written + 1}`)
      // 4: accepted, while the other is not in reach.
      if (code !== 0 && code !== 4) throw new Error(stderr)
      written++
    }
    for (let cut = 1; cut <= CUTS; cut++) {
      for (let i = 0; i < 3; i++) await write()
      const acknowledged = written
      // It goes on writing while the power goes.
      const writing = write().then(write)
      const image = join(base, `cut${cut}.img`)
      await disk.cut(image)
      await writing
      t.ok(await untilLabel(attic, written), 'the other has it all')
      await attic.json('down')
      await endProcessesOf(`${disk.path}/`)
      await disk.replace(image)
      await onAnotherBoot(barn)

      await barn.json('up')
      const kept = await labelOf(barn)
      t.ok(kept >= acknowledged, `${kept} of ${acknowledged} acknowledged are on the disk alone`)
      await attic.json('up')
      await write()
      for (const node of [attic, barn])
        t.ok(await untilLabel(node, written), `cut ${cut}: one view`)
      for (const node of [attic, barn]) {
        const { refusedOps } = await node.json<StatusJson>('status')
        t.is(refusedOps, 0)
        t.absent(
          /conflict/i.test(await readFile(join(node.dir, 'daemon.early.log'), 'utf8')),
          'no fork'
        )
      }
    }
  }
)

/** The machine that starts after a power cut has another boot id; this one is still the same. */
async function onAnotherBoot({ dir }: NodeAt): Promise<void> {
  const path = join(dir, 'run.json')
  const marker = JSON.parse(await readFile(path, 'utf8')) as object
  await writeFile(path, JSON.stringify({ ...marker, boot: 'before the cut' }))
}

async function labelOf(node: NodeAt): Promise<number> {
  const nodes = await node.json<NodeJson[]>('nodes')
  return Number(nodes.find(({ name }) => name === 'barn')?.labels.n ?? 0)
}

async function untilLabel(node: NodeAt, n: number): Promise<boolean> {
  await waitUntil(async () => (await labelOf(node)) === n, 60_000)
  return true
}
