import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'brittle'
import {
  dataDir,
  makeDataDir,
  makeSocketDir,
  quoted,
  socketAccess,
  socketPath,
  userId
} from '../../apps/paths.ts'
import { BrumeError } from '../../core/errors.ts'
import { tempDir } from './cli/fake-daemon.ts'

test('paths - the data directory: asked for, environment, root’s, the user’s', (t) => {
  t.is(dataDir('/a/b/', { BRUME_DATA: '/c' }, 1000), '/a/b')
  t.is(dataDir(undefined, { BRUME_DATA: '/c' }, 1000), '/c')
  t.is(dataDir('', { HOME: '/home/x' }, 0), '/var/lib/brume')
  t.is(dataDir(undefined, { HOME: '/home/x', XDG_STATE_HOME: '/s' }, 1000), '/s/brume')
  t.is(dataDir(undefined, { HOME: '/home/x' }, 1000), '/home/x/.local/state/brume')
  t.is(
    dataDir(undefined, { HOME: '/home/x', XDG_STATE_HOME: 'relative' }, 1000),
    '/home/x/.local/state/brume',
    'XDG says to ignore a relative one'
  )
})

test('paths - a socket path that Node would cut becomes a short one, another for each directory', (t) => {
  t.is(socketPath('/tmp/x', 7), '/tmp/x/brume.sock')
  const long = `/tmp/${'d'.repeat(90)}`
  const short = socketPath(long, 7)
  t.ok(/^\/tmp\/brume-7\/[0-9a-f]{16}\.sock$/.test(short), short)
  t.is(socketPath(long, 7), short)
  t.not(socketPath(`${long}e`, 7), short)
  t.is(socketPath(`/${'ä'.repeat(44)}`, 7).length < 40, false, 'bytes count: 99 still fit')
  t.ok(socketPath(`/${'ä'.repeat(45)}`, 7).startsWith('/tmp/brume-7/'), 'bytes count: 101 do not')
})

test('paths - only root’s socket is shared, and with the group where there is one', async (t) => {
  const dir = await tempDir(t)
  const groups = join(dir, 'group')
  writeFileSync(groups, 'root:x:0:\nbrumette:x:4:\nbrume:x:4711:ann\n')
  t.alike(socketAccess(1000, groups), { mode: 0o600 })
  t.alike(socketAccess(0, groups), { mode: 0o660, group: 4711 })
  writeFileSync(groups, 'root:x:0:\n')
  t.alike(socketAccess(0, groups), { mode: 0o660 })
  t.alike(socketAccess(0, join(dir, 'none')), { mode: 0o660 })
})

test('paths - a new data directory is private, with all that had to be made for it', async (t) => {
  const dir = await tempDir(t)
  t.is(makeDataDir(join(dir, 'a/b')), join(dir, 'a'))
  t.is(statSync(join(dir, 'a/b')).mode & 0o777, 0o700)
  t.is(makeDataDir(join(dir, 'a/b')), null)
})

test('paths - a data directory that others may look into is refused with the command that helps', async (t) => {
  const dir = join(await tempDir(t), 'open dir')
  mkdirSync(dir)
  chmodSync(dir, 0o750)
  const error = thrown(() => makeDataDir(dir))
  t.is(error.code, 'DATA_DIR_UNSAFE')
  t.is(
    error.message,
    `the data directory ${dir} is open to other users (mode 0750); it holds this node's keys`
  )
  t.is(error.next, `chmod 700 '${dir}'`)
})

test('paths - a data directory of another user is refused', async (t) => {
  const dir = await tempDir(t)
  const error = thrown(() => makeDataDir(dir, userId() + 1))
  t.is(
    error.message,
    `the data directory ${dir} belongs to user ${userId()}, and you are user ${userId() + 1}`
  )
  t.is(error.next, `sudo chown -R ${userId() + 1} ${dir}, or choose another one with --data DIR`)
})

test('paths - a file in the way of the data directory is named', async (t) => {
  const file = join(await tempDir(t), 'file')
  writeFileSync(file, '')
  const error = thrown(() => makeDataDir(file))
  t.is(error.code, 'DATA_DIR')
  t.ok(error.message.includes(file))
})

test('paths - the directory of a short socket is private', async (t) => {
  const path = join(await tempDir(t), 'sockets/x.sock')
  makeSocketDir(path, { mode: 0o600 })
  t.is(statSync(join(path, '..')).mode & 0o777, 0o700)
})

test('paths - a path is quoted only where a shell needs it', (t) => {
  t.is(quoted('/a/b-c.d'), '/a/b-c.d')
  t.is(quoted("/a b/it's"), `'/a b/it'\\''s'`)
})

function thrown(act: () => unknown): BrumeError {
  try {
    act()
  } catch (error) {
    if (error instanceof BrumeError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
