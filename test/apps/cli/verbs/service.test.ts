import test from 'brittle'
import { chmod, mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { unitName, unitText } from '../../../../apps/cli/unit.ts'
import { userId } from '../../../../apps/paths.ts'
import { cli, fakeDaemon, tempDir } from '../fake-daemon.ts'

const USER = userId() === 0 ? '' : '--user '
const UNITS = userId() === 0 ? 'etc/systemd/system' : 'home/.config/systemd/user'

test('service - the unit starts the daemon for good, and leaves alone what the daemon started', (t) => {
  const text = unitText({
    dataDir: '/var/lib/my brume',
    command: ['/usr/bin/node', '--optimize-for-size', '/opt/brume/main.js', 'daemon'],
    env: { MALLOC_ARENA_MAX: '2', PERCENT: '5%' },
    scope: 'system'
  })
  for (const line of [
    'ExecStart=/usr/bin/node --optimize-for-size /opt/brume/main.js daemon --data "/var/lib/my brume"',
    'Environment=MALLOC_ARENA_MAX=2',
    'Environment=PERCENT=5%%',
    'Restart=always',
    'RestartSec=5',
    'StartLimitIntervalSec=0',
    'KillMode=process',
    'WantedBy=multi-user.target'
  ])
    t.ok(text.split('\n').includes(line), line)
  const own = unitText({ dataDir: '/d', command: ['/n'], env: {}, scope: 'user' })
  t.ok(own.includes('WantedBy=default.target') && !own.includes('network-online'))
})

test('service - each data directory has a unit of its own', (t) => {
  t.is(unitName('/var/lib/brume', '/var/lib/brume'), 'brume.service')
  t.is(unitName('/srv/my data/b', '/var/lib/brume'), 'brume-srv-my-data-b.service')
})

test('service - --print prints the unit and changes nothing, with no systemd at all', async (t) => {
  const root = await tempDir(t)
  const env = { BRUME_SERVICE_ROOT: root, HOME: '/home' }
  const ran = await cli(['service', 'install', '--print', '--data', '/srv/b'], { env })
  t.is(ran.code, 0)
  t.ok(/^\[Unit\]\n[^]*ExecStart=\/bin\/false --data \/srv\/b\n/.test(ran.out), ran.out)
  t.alike(await readdir(root), [])
})

test('service - where there is no systemd, one sentence says so', async (t) => {
  const dir = await tempDir(t)
  const env = { BRUME_SERVICE_ROOT: await tempDir(t), HOME: '/home' }
  const ran = await cli(['service', 'install', '--data', dir], { env })
  t.is(ran.code, 1)
  t.ok(
    ran.err.startsWith('brume: systemd does not run on this machine\n  next: `brume up`'),
    ran.err
  )
  t.is((await cli(['service', 'status', '--data', dir], { env })).code, 0)
  t.ok((await cli(['service', 'uninstall', '--data', dir], { env })).err.includes('not installed'))
})

test('service - install writes, enables and starts; status asks; uninstall takes it back', async (t) => {
  const { env, calls, root } = await systemd(t, 'echo active')
  const dir = await tempDir(t)
  const data = ['--data', dir]
  const installed = await cli(['service', 'install', ...data], { env })
  t.is(installed.code, 0, installed.err)
  const unit = unitName(dir, '')
  const path = join(root, UNITS, unit)
  t.ok((await readFile(path, 'utf8')).includes(`--data ${dir}`))
  t.alike(await calls(), [
    'daemon-reload',
    `enable ${unit}`,
    `restart ${unit}`,
    `is-active ${unit}`
  ])
  t.is(installed.err.includes('enable-linger'), USER !== '')
  const status = await cli(['service', 'status', ...data], { env })
  t.is(status.out, `${unit}: active (${path})\n`)
  t.is(status.err, '')
  await writeFile(path, 'old')
  t.ok((await cli(['service', 'status', ...data], { env })).err.includes('brume service install'))
  await calls()
  t.is((await cli(['service', 'uninstall', ...data], { env })).code, 0)
  t.alike(await calls(), [`disable --now ${unit}`, 'daemon-reload'])
  t.alike(await readdir(join(root, UNITS)), [])
})

test('service - a daemon started by hand is not fought with; what systemctl says is passed on', async (t) => {
  const by = await systemd(t, 'echo inactive')
  const dir = await fakeDaemon(t, { 'GET /': () => ({}) })
  const ran = await cli(['service', 'install', '--data', dir], { env: by.env })
  t.ok(ran.err.includes('started by hand'), ran.err)
  t.alike(await readdir(by.root), ['bin', 'calls', 'run'], 'nothing was written')
  const bad = await systemd(t, 'echo "Failed to connect to bus" >&2; exit 1')
  const failed = await cli(['service', 'install', '--data', await tempDir(t)], { env: bad.env })
  t.ok(failed.err.includes('daemon-reload failed: Failed to connect to bus'), failed.err)
})

test('down - a daemon that systemd keeps running is not stopped, and how it is is said', async (t) => {
  const { env } = await systemd(t, 'echo active')
  let stopped = false
  const dir = await fakeDaemon(t, { 'POST /stop': () => ((stopped = true), {}) })
  const unit = unitName(dir, '')
  const path = join(env.BRUME_SERVICE_ROOT ?? '', UNITS, unit)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, '')
  const ran = await cli(['down', '--data', dir], { env })
  t.is(ran.code, 1)
  t.absent(stopped)
  t.ok(ran.err.includes(`keeps this daemon running as ${unit}, and would start it again`), ran.err)
  t.ok(ran.err.includes(`next: systemctl ${USER}stop ${unit} stops it until`), ran.err)
  const by = await systemd(t, 'echo inactive; exit 3')
  const idle = join(by.root, UNITS, unit)
  await mkdir(dirname(idle), { recursive: true })
  await writeFile(idle, '')
  const none = await tempDir(t)
  t.is((await cli(['down', '--data', none], { env })).code, 0, 'no unit, nobody is asked')
  t.not((await cli(['down', '--data', dir], { env: by.env })).err.includes('systemd keeps'), true)
  t.ok(stopped)
})

/** A root directory with a systemd of ours: it writes down what it is asked, and says `says`. */
async function systemd(
  t: Parameters<typeof tempDir>[0],
  says: string
): Promise<{ root: string; env: Record<string, string>; calls: () => Promise<string[]> }> {
  const root = await tempDir(t)
  const log = join(root, 'calls')
  await mkdir(join(root, 'run/systemd/system'), { recursive: true })
  await mkdir(join(root, 'bin'))
  await writeFile(log, '')
  await writeFile(join(root, 'bin/systemctl'), `#!/bin/sh\necho "$@" >> ${log}\n${says}\n`)
  await chmod(join(root, 'bin/systemctl'), 0o755)
  return {
    root,
    env: { BRUME_SERVICE_ROOT: root, HOME: '/home', PATH: `${root}/bin:/usr/bin:/bin` },
    async calls() {
      const lines = (await readFile(log, 'utf8')).trim().split('\n')
      await writeFile(log, '')
      return lines.map((line) => line.replace(USER, ''))
    }
  }
}
