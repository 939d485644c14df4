/** Verbs that say who is in the mesh: what is typed is what is sent, and how answers read. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import test from 'brittle'
import type { InviteJson, NodeChange, NodeJson } from '../../../../apps/api.ts'
import { withProgress } from '../../../../apps/daemon/socket.ts'
import { BrumeError } from '../../../../core/errors.ts'
import { encodeMeshKey } from '../../../../core/mesh-key.ts'
import { cli, fakeDaemon } from '../fake-daemon.ts'

const NODE: NodeJson = {
  name: 'pi-1',
  id: 'ybndrfg8ejkm',
  role: 'node',
  labels: { zone: 'a' },
  engine: 'docker',
  state: 'alive',
  availability: { mode: 'active', reason: '', deadlineMs: null },
  version: '0.1.0',
  lastHeardMs: 0,
  controller: false,
  dropped: 0,
  names: null
}

const INVITE: InviteJson = {
  id: 'ybndrfg8ejkm',
  role: 'node',
  labels: { zone: 'a' },
  state: 'open',
  uses: 2,
  used: ['pi-1'],
  expiresAt: new Date(3_600_000).toISOString(),
  createdBy: 'office'
}

test('leave - names what it removed, and the volumes it keeps with what removes them', async (t) => {
  const daemon = spawn(process.execPath, ['-e', ''])
  await once(daemon, 'exit')
  const answer = {
    mesh: 'm'.repeat(52),
    containers: ['shop/db/0'],
    volumes: [
      { volume: 'shop/db/0/data', place: 'brume-abcdef-shop.db.0.data' },
      { volume: 'shop/db/0/logs', place: "/var/lib/it's/logs" }
    ],
    pid: daemon.pid ?? 0
  }
  const dir = await fakeDaemon(t, { 'POST /leave': async () => withProgress(async () => answer) })
  const { out, code } = await cli(['leave', '--data', dir])
  t.is(code, 0)
  t.ok(out.includes('1 containers removed\n  shop/db/0\nvolumes are kept;'), out)
  t.ok(out.includes('  shop/db/0/data: docker volume rm brume-abcdef-shop.db.0.data\n'), out)
  t.ok(out.includes(`  shop/db/0/logs: rm -r '/var/lib/it'\\''s/logs'\n`), out)
})

test('node - label, role, rename and lost send the change', async (t) => {
  const sent: [string, NodeChange][] = []
  const dir = await fakeDaemon(t, {
    'POST /nodes/:node': async ({ params, json }) => {
      sent.push([params['node'] ?? '', await json<NodeChange>()])
      return { node: NODE, offline: [] }
    }
  })
  for (const line of [
    'node label pi-1 zone=a site=x=y old-',
    'node role pi-1 operator --no-controller',
    'node role pi-1 admin',
    'node rename pi-1 gate',
    'node lost pi-1',
    'node lost pi-1 --undo'
  ]) {
    t.is((await cli([...line.split(' '), '--data', dir])).code, 0, line)
  }
  t.alike(sent, [
    ['pi-1', { labels: { set: { zone: 'a', site: 'x=y' }, remove: ['old'] } }],
    ['pi-1', { role: 'operator', controller: false }],
    ['pi-1', { role: 'admin' }],
    ['pi-1', { name: 'gate' }],
    ['pi-1', { lost: true }],
    ['pi-1', { lost: false }]
  ])
  const wrong = await cli(['node', 'role', 'pi-1', 'root', '--data', dir])
  t.is(wrong.code, 1)
  t.ok(wrong.err.includes('expected one of admin, operator, node, viewer, got "root"'))
})

test('node rm - the key goes with it unless it is kept; who is offline is told', async (t) => {
  const kept: (string | null)[] = []
  const dir = await fakeDaemon(t, {
    'DELETE /nodes/:node': ({ query }) => {
      kept.push(query.get('keep-key'))
      return { node: { ...NODE, state: 'removed' }, offline: ['truck'], key: null }
    }
  })
  const ran = await cli(['node', 'rm', 'pi-1', '--data', dir])
  t.is(ran.code, 4)
  t.ok(ran.err.includes('the mesh key was changed with it'))
  t.ok(ran.err.includes('truck'))
  t.ok((await cli(['node', 'rm', 'pi-1', '--keep-key', '--data', dir])).err.includes('key stays'))
  t.alike(kept, [null, '1'])
})

test('nodes - those that were removed are shown when asked for', async (t) => {
  const dir = await fakeDaemon(t, {
    'GET /nodes': () => [NODE, { ...NODE, name: 'thief', state: 'removed', dropped: 3 }]
  })
  t.absent((await cli(['nodes', '--data', dir])).out.includes('thief'))
  const all = (await cli(['node', 'ls', '-a', '--data', dir])).out
  t.ok(/thief.*removed.*3 ops/.test(all), all)
})

test('invite - new prints what `join` takes and nothing else on stdout; ls and rm', async (t) => {
  let asked: unknown = null
  const dir = await fakeDaemon(t, {
    'POST /invites': async ({ json }) => {
      asked = await json()
      return { ...INVITE, used: [], invite: 'brume-xyz' }
    },
    'GET /invites': () => [INVITE, { ...INVITE, state: 'revoked', labels: {}, used: [] }],
    'DELETE /invites/:invite': ({ params }) => ({ ...INVITE, id: params['invite'] })
  })
  const line = 'invite new --role node --uses 2 --expires 7d --label zone=a'
  const made = await cli([...line.split(' '), '--data', dir], { now: () => 0 })
  t.alike(asked, { role: 'node', uses: 2, expiresInMs: 604_800_000, labels: { zone: 'a' } })
  t.is(made.out, 'brume-xyz\n')
  t.ok(made.err.includes('node for 2 nodes, for 60 minutes: brume join INVITE'))
  const qr = await cli(['invite', 'new', '--qr', '--data', dir])
  t.ok(qr.err.includes('█'))
  t.is(
    (await cli(['invite', 'ls', '--data', dir], { now: () => 0 })).out,
    'ID             STATE     ROLE   USED     EXPIRES         BY       NODES   LABELS\n' +
      'ybndrfg8ejkm   open      node   1 of 2   in 60 minutes   office   pi-1    zone=a\n' +
      'ybndrfg8ejkm   revoked   node   0 of 2   in 60 minutes   office   -       -\n'
  )
  t.is((await cli(['invite', 'rm', 'ybnd', '--data', dir])).out, 'ybnd is revoked\n')
  for (const [option, message] of [
    ['--uses 0', '--uses: expected a number from 1 to 10000, got "0"'],
    ['--expires soon', '--expires: expected a duration such as 30s or 5m, got "soon"'],
    ['--expires 400d', '--expires: at most 366d'],
    ['--role boss', '--role: expected one of admin, operator, node, viewer, got "boss"']
  ] as const) {
    const ran = await cli([...`invite new ${option}`.split(' '), '--data', dir])
    t.is(ran.err.split('\n')[0], `brume: ${message}`)
  }
})

test('key, lock - rotate prints the new key alone on stdout', async (t) => {
  const dir = await fakeDaemon(t, {
    'POST /key/rotate': () => ({ key: 'brume-new' }),
    'POST /lock': () => ({ locked: true }),
    'POST /unlock': () => ({ locked: false })
  })
  t.is((await cli(['key', 'rotate', '--data', dir])).out, 'brume-new\n')
  t.ok((await cli(['lock', '--data', dir])).out.startsWith('locked'))
  t.ok((await cli(['unlock', '--data', dir])).out.startsWith('unlocked'))
})

test('join - a name that is taken is a question on a terminal, else an error with a proposal', async (t) => {
  const names: string[] = []
  const dir = await fakeDaemon(t, {
    'GET /status': () => ({ pid: 1 }),
    'POST /join': async ({ json }) => {
      const { name } = await json<{ name: string }>()
      names.push(name)
      return withProgress(async () => {
        if (name !== 'pi')
          return { name, id: 'i', mesh: 'm', role: 'node', key: null, warnings: [] }
        throw new BrumeError('NAME_TAKEN', 'a node is called "pi" already', {
          next: 'join again with --name pi-2'
        })
      })
    }
  })
  const key = encodeMeshKey({
    kind: 'invite',
    meshId: Buffer.alloc(32, 1),
    joinSecret: Buffer.alloc(32, 2),
    encryptionCheck: Buffer.alloc(8),
    bootstrap: []
  })
  const argv = ['join', key, '--name', 'pi', '--data', dir]
  const piped = await cli(argv)
  t.is(piped.code, 1)
  t.ok(piped.err.includes('next: join again with --name pi-2'))
  const tty = { tty: { columns: 80, rows: 24 } }
  t.is((await cli(argv, { ...tty, input: '\n' })).code, 0)
  t.is((await cli(argv, { ...tty, input: 'gate\n' })).code, 0)
  t.alike(names, ['pi', 'pi', 'pi-2', 'pi', 'gate'])
})
