import { once } from 'node:events'
import { pathToFileURL } from 'node:url'
import test, { type Assert } from 'brittle'
import { rulesText, type LocalPort, type Redirect } from '../../../roles/connector/packet-rules.ts'
import { createLab, type Host } from '../../helpers/lab.ts'

const DNS: Redirect = { address: '10.214.136.1', port: 53, protocol: 'udp', to: 40_001 }
const WEB: Redirect = { address: '10.214.136.2', port: 80, protocol: 'tcp', to: 40_002 }
const CLOSED: LocalPort = { protocol: 'udp', port: 49_737 }

test('packet rules - each block’s own, whole, in the tables that have to do with it', (t) => {
  t.is(
    rulesText(1, [DNS, WEB], [CLOSED]),
    `*nat
:BRUME-1 - [0:0]
-A BRUME-1 -d 10.214.136.1/32 -p udp --dport 53 -j DNAT --to-destination 10.214.136.1:40001
-A BRUME-1 -d 10.214.136.2/32 -p tcp --dport 80 -j DNAT --to-destination 10.214.136.1:40002
-A BRUME-1 -d 10.214.136.0/21 -j ACCEPT
COMMIT
*filter
:BRUME-1 - [0:0]
-A BRUME-1 -d 10.214.136.0/21 -m conntrack --ctstate DNAT -j ACCEPT
-A BRUME-1 -d 10.214.136.0/21 -j REJECT
-A BRUME-1 -p udp --dport 49737 -j REJECT
COMMIT
`
  )
})

const AS_ROOT = { skip: process.getuid?.() !== 0 }

test(
  'packet rules - set twice they are there once, and new ones take the place of all before',
  AS_ROOT,
  async (t) => {
    const machine = await createMachine(t)
    await machine.set(1, [DNS, WEB], [CLOSED])
    const once = await machine.rules()
    t.alike(chainOf(once, 'BRUME-1'), lines(rulesText(1, [DNS, WEB], [CLOSED])))
    t.is(jumpsTo(once, 'BRUME-1').length, 2)
    await machine.set(1, [DNS, WEB], [CLOSED])
    t.alike(await machine.rules(), once)
    await machine.set(1, [WEB], [])
    t.alike(chainOf(await machine.rules(), 'BRUME-1'), lines(rulesText(1, [WEB], [])))
    // One of them is none: nothing of it is taken.
    const bad = await machine.call('setRules', 1, [DNS, { ...WEB, port: 80_000 }], [])
    t.is(bad.code, 'NAMES_FAILED')
    t.alike(chainOf(await machine.rules(), 'BRUME-1'), lines(rulesText(1, [WEB], [])))
  }
)

test(
  'packet rules - what somebody took away comes back, what is of others stays',
  AS_ROOT,
  async (t) => {
    const machine = await createMachine(t)
    await machine.iptables('-t nat -A PREROUTING -p tcp --dport 7 -j ACCEPT')
    await machine.set(1, [WEB], [])
    const whole = await machine.rules()
    for (const attack of [
      ['-t filter -F INPUT'],
      ['-t nat -D PREROUTING -s 10.214.0.0/17 -d 10.214.136.0/21 -j BRUME-1'],
      ['-t nat -F BRUME-1'],
      [
        '-t filter -F',
        '-t filter -X',
        '-t nat -D PREROUTING 1',
        '-t nat -F BRUME-1',
        '-t nat -X BRUME-1'
      ]
    ]) {
      for (const rule of attack) await machine.iptables(rule)
      t.unlike(await machine.rules(), whole, attack.join(', '))
      await machine.set(1, [WEB], [])
      t.alike(await machine.rules(), whole)
    }
  }
)

test(
  'packet rules - cleared, nothing of the block is left, and all of every other',
  AS_ROOT,
  async (t) => {
    const machine = await createMachine(t)
    t.alike(await machine.call('clearRules', 1), {}, 'where there is nothing')
    const clean = await machine.rules()
    await machine.set(10, [{ ...DNS, address: '10.214.208.1' }], [CLOSED])
    const other = await machine.rules()
    t.alike(await machine.call('clearRules', 1), {}, 'where there are those of block 10')
    t.alike(await machine.rules(), other)
    await machine.set(1, [DNS, WEB], [CLOSED])
    // Two daemons at the same moment can have made two.
    await machine.iptables('-t filter -I INPUT -s 10.214.0.0/17 -j BRUME-1')
    t.alike(await machine.call('clearRules', 1), {})
    t.alike(await machine.rules(), other)
    t.alike(await machine.call('clearRules', 10), {})
    t.alike(await machine.rules(), clean)
  }
)

test(
  'packet rules - what drops forged packets is there once, and goes with the others',
  AS_ROOT,
  async (t) => {
    const machine = await createMachine(t)
    const mangled = async (): Promise<string[]> =>
      lines((await machine.host.exec('iptables-save', ['-t', 'mangle'])).stdout)
    await machine.set(1, [WEB], [])
    t.alike(await machine.call('dropForged', 1), {})
    const once = await mangled()
    t.alike(chainOf(once, 'BRUME-1'), [':BRUME-1 -', '-A BRUME-1 -m rpfilter --invert -j DROP'])
    t.is(jumpsTo(once, 'BRUME-1').length, 1)
    t.alike(await machine.call('dropForged', 1), {})
    t.alike(await mangled(), once)
    t.alike(await machine.call('clearRules', 1), {})
    t.absent((await mangled()).some((line) => line.includes('BRUME')))
  }
)

test(
  'packet rules - the range is this machine’s own, however often it is said; why it cannot be had',
  AS_ROOT,
  async (t) => {
    const machine = await createMachine(t)
    t.alike(await machine.call('ownRange'), {})
    t.alike(await machine.call('ownRange'), {})
    const { stdout } = await machine.host.exec('ip', ['-4', '-o', 'addr', 'show', 'dev', 'lo'])
    t.is(stdout.match(/10\.214\.128\.1\/17/g)?.length, 1)
    const route = await machine.host.exec('ip', ['route', 'get', '10.214.200.9'])
    t.ok(route.stdout.startsWith('local 10.214.200.9'), route.stdout)
  }
)

test('packet rules - why they cannot be had', AS_ROOT, async (t) => {
  const machine = await createMachine(t)
  const before = await machine.rules()
  t.alike(await machine.call('tryRules'), {}, 'who may is told so')
  t.alike(await machine.rules(), before, 'and nothing has changed')
  t.is((await machine.callAs({ path: '/nowhere' }, 'tryRules')).code, 'NAMES_IMPOSSIBLE')
  const none = await machine.callAs({ path: '/nowhere' }, 'setRules', 1, [], [])
  t.is(none.code, 'NAMES_IMPOSSIBLE')
  t.ok(none.message?.includes('`iptables-restore`'), none.message)
  const nobody = await machine.callAs({ uid: 65_534 }, 'setRules', 1, [], [])
  t.is(nobody.code, 'NAMES_IMPOSSIBLE', nobody.message)
  t.is((await machine.callAs({ uid: 65_534 }, 'ownRange')).code, 'NAMES_IMPOSSIBLE')
  t.is((await machine.call('tryRules')).code, 'NAMES_IMPOSSIBLE', 'whoever asks first')
})

/** What came of a call: nothing, or its error. */
interface Outcome {
  code?: string
  message?: string
}

interface Machine {
  host: Host
  /** Of `packet-rules.ts`, there. */
  call(name: string, ...args: unknown[]): Promise<Outcome>
  /** By another user, from then on, or with other programs. */
  callAs(who: { uid?: number; path?: string }, name: string, ...args: unknown[]): Promise<Outcome>
  set(block: number, redirects: Redirect[], closed: LocalPort[]): Promise<void>
  iptables(rule: string): Promise<void>
  /** Of both tables, in order. */
  rules(): Promise<string[]>
}

const PACKET_RULES = pathToFileURL(
  `${import.meta.dirname}/../../../roles/connector/packet-rules.ts`
).href

const SERVE = `
const rules = await import(${JSON.stringify(PACKET_RULES)})
process.on('message', async ({ name, args, path, uid }) => {
  process.env.PATH = path
  if (uid !== null) process.setuid(uid)
  const outcome = await rules[name](...args).then(
    () => ({}),
    ({ code, message }) => ({ code, message })
  )
  process.send(outcome)
})`

async function createMachine(t: Assert): Promise<Machine> {
  const [host] = (await createLab(1, t)).hosts as [Host]
  const node = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', SERVE]
  const child = host.spawn(process.execPath, node, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc']
  })
  const { PATH: path = '' } = process.env
  const callAs: Machine['callAs'] = async (who, name, ...args) => {
    child.send({ path, uid: null, ...who, name, args })
    return (await once(child, 'message'))[0] as Outcome
  }
  const call: Machine['call'] = (name, ...args) => callAs({}, name, ...args)
  return {
    host,
    call,
    callAs,
    async set(...args) {
      const { message } = await call('setRules', ...args)
      if (message !== undefined) throw new Error(message)
    },
    async iptables(rule) {
      const { code, stderr } = await host.exec('iptables', ['-w', ...rule.split(' ')])
      if (code !== 0) throw new Error(`iptables ${rule}: ${stderr}`)
    },
    async rules() {
      const saved = await Promise.all(
        ['nat', 'filter'].map((table) => host.exec('iptables-save', ['-t', table]))
      )
      return saved.flatMap(({ stdout }) => lines(stdout))
    }
  }
}

/** Rules and chains, each said in one way. */
const lines = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => /^[:-]/.test(line))
    .map((line) =>
      line
        .replace(/ \[\d+:\d+\]$/, '')
        .replace(/-p (tcp|udp) -m \1 /, '-p $1 ')
        .replace(' --reject-with icmp-port-unreachable', '')
    )

const chainOf = (rules: string[], chain: string): string[] =>
  rules.filter((line) => line.startsWith(`:${chain} `) || line.startsWith(`-A ${chain} `))

const jumpsTo = (rules: string[], chain: string): string[] =>
  rules.filter((line) => line.endsWith(` -j ${chain}`))
