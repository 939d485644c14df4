import test from 'brittle'
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { InitResult, NodeJson } from '../../apps/api.ts'
import { startBootstrapNode } from '../../core/swarm.ts'
import { endProcessesOf } from '../helpers/leftovers.ts'
import { errorCode, nodeAt } from '../helpers/node-at.ts'

test(
  'adopt - a clone does not start as what it was, and becomes a node of its own',
  { timeout: 120_000 },
  async (t) => {
    const base = await mkdtemp(join(tmpdir(), 'brume-adopt-'))
    t.teardown(
      async () => {
        await endProcessesOf(`${base}/`)
        await rm(base, { recursive: true, force: true })
      },
      { force: true }
    )
    const dht = await startBootstrapNode('127.0.0.1')
    t.teardown(() => dht.close(), { order: 1, force: true })
    const options = ['--engine', 'none', '--bootstrap', dht.address]
    const attic = await nodeAt(join(base, 'attic'))
    const barn = await nodeAt(join(base, 'barn'))
    const { key } = await attic.json<InitResult>('init', '--name', 'attic', ...options)
    const before = await barn.json<InitResult>('join', key ?? '', '--name', 'barn', ...options)
    await barn.json('down')

    await writeFile(join(barn.dir, 'machine'), `${'0'.repeat(64)}\n`)
    t.is(errorCode(await barn.brume('up', '--json')), 'MACHINE_CHANGED')
    const again = ['adopt', '--name', 'barn', ...options, '--json']
    t.is(errorCode(await barn.brume(...again)), 'NAME_TAKEN')
    t.absent((await readdir(barn.dir)).includes('before-adopt'), 'a failure changes nothing')
    const after = await barn.json<InitResult>('adopt', '--name', 'barn-2', ...options)
    t.not(after.id, before.id)
    const nodes = await attic.json<NodeJson[]>('nodes')
    t.alike(nodes.map(({ name }) => name).sort(), ['attic', 'barn', 'barn-2'])
    t.is(errorCode(await barn.brume(...again)), 'ALREADY_RUNNING')

    const copy = await nodeAt(join(base, 'copy'))
    await barn.json('down')
    await cp(barn.dir, copy.dir, { recursive: true })
    t.is(errorCode(await copy.brume('up', '--json')), 'STORE_COPIED')
  }
)
