import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import test from 'brittle'
import { extract } from 'tar-stream'
import { packBundle } from '../../../apps/cli/bundle.ts'
import { BrumeError } from '../../../core/errors.ts'
import { tempDir } from './fake-daemon.ts'

test('bundle - the same files give the same bytes, whatever their times, order and owner', async (t) => {
  const [a, b] = [await tempDir(t), await tempDir(t)]
  for (const [dir, names] of [
    [a, ['z', 'B', 'a', 'ä']],
    [b, ['ä', 'a', 'z', 'B']]
  ] as const) {
    mkdirSync(join(dir, 'sub'))
    for (const name of names) writeFileSync(join(dir, 'sub', name), name)
    symlinkSync('sub/a', join(dir, 'link'))
  }
  utimesSync(join(b, 'sub/a'), 1, 1)
  chmodSync(join(b, 'sub/a'), 0o600)
  t.ok((await packBundle(a, 'x')).equals(await packBundle(b, 'x')))
  chmodSync(join(b, 'sub/a'), 0o700)
  t.absent((await packBundle(a, 'x')).equals(await packBundle(b, 'x')), 'what can be run differs')
})

test('bundle - entries are sorted and normal, contents and links are kept', async (t) => {
  const dir = await tempDir(t)
  mkdirSync(join(dir, 'sub'), { mode: 0o700 })
  writeFileSync(join(dir, 'sub/run.sh'), 'echo', { mode: 0o4755 })
  writeFileSync(join(dir, 'a.txt'), 'A', { mode: 0o600 })
  symlinkSync('../a.txt', join(dir, 'sub/up'))
  symlinkSync('nowhere', join(dir, 'dangling'))
  t.alike(await read(await packBundle(dir, 'x')), [
    ['a.txt', 'file', 0o644, 'A'],
    ['dangling', 'symlink', 0o777, 'nowhere'],
    ['sub/', 'directory', 0o755, ''],
    ['sub/run.sh', 'file', 0o755, 'echo'],
    ['sub/up', 'symlink', 0o777, '../a.txt']
  ])
})

test('bundle - links that leave the directory are refused, by their words or on this disk', async (t) => {
  const outside = await tempDir(t)
  const dir = join(outside, 'app')
  mkdirSync(join(dir, 'deep/er'), { recursive: true })
  const links: [string, string][] = [
    ['/etc/passwd', 'absolute'],
    ['../secret', 'up'],
    ['deep/../../secret', 'winding']
  ]
  for (const [target, name] of links) {
    symlinkSync(target, join(dir, name))
    const error = await rejection(packBundle(dir, 'app.yaml:3'))
    t.is(error.code, 'BUNDLE_REFUSED')
    t.is(error.message, `app.yaml:3: the link ${name} points out of the directory, to ${target}`)
    rmSync(join(dir, name))
  }
  // By its words `deep/in/../../secret` is `secret`; the kernel walks it out of the bundle.
  writeFileSync(join(outside, 'secret'), 's')
  symlinkSync('.', join(dir, 'deep/in'))
  symlinkSync('in/../../secret', join(dir, 'deep/trick'))
  t.is((await rejection(packBundle(dir, 'x'))).code, 'BUNDLE_REFUSED')
})

test('bundle - devices, pipes and sockets cannot travel', async (t) => {
  const dir = await tempDir(t)
  execFileSync('mkfifo', [join(dir, 'pipe')])
  const error = await rejection(packBundle(dir, 'x'))
  t.ok(error.message.includes('pipe is neither a file, a directory nor a link'), error.message)
})

test('bundle - more than 32 MiB is refused in one sentence, before it is read', async (t) => {
  const dir = await tempDir(t)
  writeFileSync(join(dir, 'small'), 'x')
  writeFileSync(join(dir, 'big.bin'), '')
  truncateSync(join(dir, 'big.bin'), 40 * 1024 * 1024)
  const error = await rejection(packBundle(dir, 'app.yaml:3'))
  t.is(error.code, 'BUNDLE_TOO_LARGE')
  t.is(
    error.message,
    `app.yaml:3: ${dir} holds 40.0 MiB, a bundle may have 32.0 MiB; the largest is big.bin with 40.0 MiB`
  )
  truncateSync(join(dir, 'big.bin'), 32 * 1024 * 1024 - 1024)
  t.is((await rejection(packBundle(dir, 'x'))).code, 'BUNDLE_TOO_LARGE', 'headers count')
})

test('bundle - a directory that is none is named', async (t) => {
  const dir = await tempDir(t)
  writeFileSync(join(dir, 'file'), '')
  t.is(
    (await rejection(packBundle(join(dir, 'no'), 'app.yaml:3'))).message,
    `app.yaml:3: there is no directory ${dir}/no`
  )
  t.is(
    (await rejection(packBundle(join(dir, 'file'), 'app.yaml:3'))).message,
    `app.yaml:3: ${dir}/file is not a directory`
  )
})

async function read(tar: Buffer): Promise<[string, string, number, string][]> {
  const reader = extract()
  reader.end(tar)
  const entries: [string, string, number, string][] = []
  for await (const entry of reader) {
    let content = ''
    for await (const chunk of entry) content += String(chunk)
    const { name, type, mode, linkname, mtime, uid, gid } = entry.header
    if (mtime?.getTime() !== 0 || uid !== 0 || gid !== 0) throw new Error(`${name} is not normal`)
    entries.push([name, String(type), mode ?? 0, linkname ?? content])
  }
  return entries
}

async function rejection(promise: Promise<unknown>): Promise<BrumeError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof BrumeError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
