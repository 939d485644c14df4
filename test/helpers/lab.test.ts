import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import test from 'brittle'
import { dockerApi } from './docker-api.ts'
import { createLab, type Host } from './lab.ts'

test('lab - three hosts reach each other, a cut stops that, healing brings it back', async (t) => {
  const lab = await createLab(3, t)
  const [first, second, third] = lab.hosts as [Host, Host, Host]

  t.ok(await reaches(first, second))
  t.ok(await reaches(second, third))
  await lab.cut(1)
  t.absent(await reaches(first, second))
  t.absent(await reaches(second, third))
  t.ok(await reaches(first, third))
  await lab.heal(1)
  t.ok(await reaches(first, second))
})

test('lab - a program runs on its host and says how it ended', async (t) => {
  const lab = await createLab(1, t)
  const [host] = lab.hosts as [Host]
  const output = await host.exec(
    'sh',
    ['-c', 'ip -4 -o addr show eth0; cat; echo no >&2; exit 3'],
    {
      input: 'given'
    }
  )
  t.is(output.code, 3)
  t.ok(output.stdout.includes(host.ip))
  t.ok(output.stdout.endsWith('given'))
  t.is(output.stderr, 'no\n')
})

test('lab - nothing stays behind: programs, namespaces, files', async (t) => {
  const lab = await createLab(2)
  const [host] = lab.hosts as [Host]
  const child = host.spawn('sleep', ['1000'], { stdio: 'ignore', detached: true })
  const ended = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)))
  t.is((await traces()).length, 4)

  await lab.stop()
  t.is(await ended, 'SIGKILL')
  t.alike(await traces(), [])
  await lab.stop()
})

test('lab - engines have the images under the same ids, and do not see each other', async (t) => {
  const lab = await createLab(2, t)
  const [one, other] = (await lab.engines()) as [string, string]
  for (const image of ['local/busybox:1', 'local/node:20']) {
    const ids = await Promise.all([one, other].map((socket) => imageId(socket, image)))
    t.ok(ids[0]?.startsWith('sha256:'))
    t.is(ids[0], ids[1])
  }
  const body = { Image: 'local/busybox:1', Cmd: ['sleep', '1000'] }
  const made = await dockerApi(one, 'POST', '/containers/create?name=mine', body)
  const { Id } = made.body as { Id: string }
  t.is((await dockerApi(one, 'POST', `/containers/${Id}/start`)).status, 204)
  t.is((await dockerApi(other, 'GET', '/containers/mine/json')).status, 404)

  await lab.stop()
  t.alike(await traces(), [])
})

async function reaches(from: Host, to: Host): Promise<boolean> {
  const { code } = await from.exec('busybox', ['ping', '-c', '1', '-W', '1', to.ip])
  return code === 0
}

/** Namespaces and directories of this process's labs. */
async function traces(): Promise<string[]> {
  const found = [...(await readdir('/run/netns')), ...(await readdir(tmpdir()))]
  return found.filter((name) => new RegExp(`^(brl|brume-lab-)${process.pid}-`).test(name))
}

async function imageId(socketPath: string, image: string): Promise<string> {
  const { body } = await dockerApi(socketPath, 'GET', `/images/${image}/json`)
  return (body as { Id: string }).Id
}
