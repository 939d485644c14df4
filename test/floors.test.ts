/**
 * The floors of the house: apps → roles → core, never up; a role never imports another role; each
 * npm package comes in by its own door. To open a door, change the table here, and say why.
 */
import test from 'brittle'
import { readFileSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { builtinModules } from 'node:module'

const ROOT = path.join(import.meta.dirname, '..')

/** Which files may import a package. A trailing slash means every file below. */
const DOORS: Record<string, string[]> = {
  hyperswarm: ['core/swarm.ts'],
  // The DHT node is a part of the swarm with an idea of its own; so are the LAN and relaying.
  hyperdht: ['core/dht.ts'],
  'multicast-dns': ['core/lan.ts'],
  'blind-relay': ['core/relay.ts'],
  'noise-handshake': ['core/greeting.ts'],
  'noise-curve-ed': ['core/greeting.ts'],
  // The others hold what we do to parts of it that are no public API: its system core, what it reads
  // and writes in vain, how often it works, when it acknowledges.
  autobase: [
    'core/oplog.ts',
    'core/system-core.ts',
    'core/fewer-reads.ts',
    'core/one-write.ts',
    'core/pace.ts',
    'core/merge.ts'
  ],
  // Owned by the oplog, so that links outlive a base that is opened anew.
  'protomux-wakeup': ['core/oplog.ts'],
  // tree-cache.ts: what it keeps of a tree's blocks.
  hyperbee: ['core/oplog.ts', 'core/tree-cache.ts'],
  rache: ['core/tree-cache.ts'],
  // How much memory the store may take; what it is asked in vain.
  'hypercore-storage': ['core/store.ts', 'core/fewer-reads.ts'],
  corestore: ['core/oplog.ts', 'core/bundles.ts', 'core/store.ts'],
  // preload.ts: no range requests for blocks of a view that this node makes itself.
  // short-bitfields.ts: what a peer of a core costs.
  // view-tracker.ts: whether a view goes on as it was.
  hypercore: [
    'core/oplog.ts',
    'core/bundles.ts',
    'core/writer-key.ts',
    'core/preload.ts',
    'core/short-bitfields.ts',
    'core/fewer-reads.ts',
    'core/view-tracker.ts'
  ],
  hyperblobs: ['core/bundles.ts'],
  // What speaks to a peer names its own protocol and messages.
  protomux: [
    'core/channel.ts',
    'core/gossip.ts',
    'core/gossip-peer.ts',
    'core/join.ts',
    'core/links.ts'
  ],
  'compact-encoding': ['core/channel.ts', 'core/gossip-wire.ts', 'core/join.ts', 'core/links.ts'],
  'sodium-native': ['core/crypto.ts'],
  z32: ['core/crypto.ts', 'core/mesh-key.ts'],
  // The floors below log through an interface (core/logger.ts); where lines go is the daemon's affair.
  pino: ['apps/daemon/log.ts'],
  // What containers ask and are told.
  'dns-packet': ['roles/connector/resolver.ts'],
  dockerode: ['roles/agent/docker/connection.ts'],
  xstate: [
    'roles/node.ts',
    // It waits for a machine.
    'roles/node/connector.ts',
    'roles/agent/machine.ts',
    // What that one invokes and does.
    'roles/agent/machine/',
    'roles/connector/machine.ts',
    'roles/controller/machine.ts'
  ],
  // Loaded by the verbs and handlers that read what people write, never by apply.
  yaml: ['apps/formats/'],
  zod: ['apps/formats/', 'apps/daemon/'],
  commander: ['apps/cli/'],
  uqr: ['apps/cli/verbs/invite.ts'],
  'find-my-way': ['apps/daemon/socket.ts'],
  'tar-stream': ['apps/', 'core/bundles.ts', 'roles/agent/'],
  'tar-fs': ['apps/', 'core/bundles.ts', 'roles/agent/'],
  // Buffers as the holepunch packages have them: no state, no I/O.
  b4a: ['core/', 'roles/', 'apps/']
}

/** Which floors a floor may stand on. */
const FLOORS: Record<string, string[]> = {
  core: ['core'],
  roles: ['roles', 'core'],
  apps: ['apps', 'roles', 'core']
}

/** The root actor, which alone knows all roles, and what it gives to each. */
const ROOT_ACTOR = 'roles/node.ts'
const ROOT_PARTS = 'roles/node/'

for (const floor of Object.keys(FLOORS)) {
  test(`floors - ${floor} imports only what it stands on, by the doors`, (t) => {
    const files = sourcesOf(floor)
    t.ok(files.length > 0, `${files.length} files`)
    for (const file of files) {
      for (const fault of faultsOf(file, readFileSync(path.join(ROOT, file), 'utf8'))) t.fail(fault)
    }
  })
}

const FAULTS: [string, string, string, string | null][] = [
  ['core may not import a role', 'core/mesh.ts', "import { x } from '../roles/node.ts'", 'up'],
  ['nor an app', 'core/state/nodes.ts', "export { x } from '../../apps/api.ts'", 'up'],
  ['not even later', 'core/mesh.ts', "await import('../apps/client.ts')", 'up'],
  ['a role may not import an app', 'roles/agent/diff.ts', "import '../../apps/api.ts'", 'up'],
  [
    'nor another role, its types neither',
    'roles/agent/diff.ts',
    "import type { Plan } from '../controller/place.ts'",
    'another role'
  ],
  ['nor the root actor', 'roles/agent/diff.ts', "import x from '../node.ts'", 'root actor'],
  ['a role may import itself', 'roles/agent/diff.ts', "import x from './steps.ts'", null],
  [
    'nor what that is made of',
    'roles/agent/diff.ts',
    "import x from '../node/facts.ts'",
    'another'
  ],
  ['which imports roles', 'roles/node/facts.ts', "import x from '../agent/devices.ts'", null],
  ['the root actor imports roles', 'roles/node.ts', "import x from './agent/machine.ts'", null],
  ['an app imports anything', 'apps/cli/main.ts', "import x from '../../core/mesh.ts'", null],
  ['a package by its door', 'core/swarm.ts', "import Hyperswarm from 'hyperswarm'", null],
  ['and by no other', 'apps/client.ts', "import Hyperswarm from 'hyperswarm'", 'door'],
  ['a part of it neither', 'core/mesh.ts', "import('hyperdht/testnet')", 'door'],
  ['its types anywhere', 'core/gossip.ts', "import type Hyperswarm from 'hyperswarm'", null],
  // `verbatimModuleSyntax` leaves `import {} from` of it: the package is loaded.
  ['types that load it', 'core/mesh.ts', "import { type A } from 'autobase'", 'door'],
  ['an unknown package', 'core/mesh.ts', "import _ from 'lodash'", 'no door'],
  ['what is built in', 'core/mesh.ts', "import { join } from 'node:path'", null],
  ['built in, without its prefix', 'core/mesh.ts', "import { join } from 'path'", 'node:path'],
  ['a floor that is not one', 'core/mesh.ts', "import x from '../test/helpers/mesh.ts'", 'up'],
  ['over many lines', 'core/mesh.ts', "import {\n  a,\n  b\n} from 'autobase'", 'door'],
  ['prose is no import', 'core/mesh.ts', " * comes from '../apps/api.ts' in the end", null]
]

for (const [claim, file, source, part] of FAULTS) {
  test(`floors - the check itself: ${claim}`, (t) => {
    const faults = faultsOf(file, source)
    if (part === null) t.alike(faults, [])
    else t.ok(faults.length === 1 && faults[0]?.includes(part), faults.join('; '))
  })
}

interface Import {
  from: string
  /** `import type`: gone after compiling. */
  typeOnly: boolean
}

/** One sentence for each import that breaks a rule. */
function faultsOf(file: string, source: string): string[] {
  return importsOf(source).flatMap(({ from, typeOnly }) => {
    const why = from.startsWith('.')
      ? wrongFloor(file, from)
      : typeOnly
        ? null
        : wrongDoor(file, from)
    return why === null ? [] : [`${file} imports ${from}: ${why}`]
  })
}

function wrongFloor(file: string, from: string): string | null {
  const target = path.posix.join(path.posix.dirname(file), from)
  const [floor = '', role] = file.split('/')
  const [targetFloor = '', targetRole] = target.split('/')
  const allowed = FLOORS[floor] ?? []
  // The root of the project: package.json, for the version.
  if (!target.includes('/')) return null
  if (!allowed.includes(targetFloor))
    return `${floor} never looks up, it stands on ${allowed.join(', ')}`
  const isRoot = file === ROOT_ACTOR || file.startsWith(ROOT_PARTS)
  if (floor !== 'roles' || targetFloor !== 'roles' || isRoot) return null
  if (target === ROOT_ACTOR) return 'only apps know the root actor'
  return role === targetRole
    ? null
    : `another role; they meet in the view, the gossip or ${ROOT_ACTOR}`
}

function wrongDoor(file: string, from: string): string | null {
  if (from.startsWith('node:')) return null
  if (builtinModules.includes(from)) return `say node:${from}`
  const name = from
    .split('/')
    .slice(0, from.startsWith('@') ? 2 : 1)
    .join('/')
  const doors = DOORS[name]
  if (!doors) return `${name} has no door yet: give it one in test/floors.test.ts`
  const open = doors.some((door) => (door.endsWith('/') ? file.startsWith(door) : file === door))
  return open ? null : `its door is ${doors.join(', ')}`
}

function importsOf(source: string): Import[] {
  const statements =
    /^[ \t]*(import|export)\b([^'"`;]*?)\bfrom\s*'([^']+)'|^[ \t]*import\s*'([^']+)'/gm
  const found = [...source.matchAll(statements)].map(([, , clause = '', from, bare]) => ({
    from: from ?? bare ?? '',
    typeOnly: /^\s*type\b/.test(clause)
  }))
  const dynamic = [...source.matchAll(/(?<![\w.])(?:typeof\s+)?import\(\s*'([^']+)'/g)]
  const later = dynamic.map(([all, from = '']) => ({ from, typeOnly: all.startsWith('typeof') }))
  return [...found, ...later]
}

function sourcesOf(floor: string): string[] {
  return readdirSync(path.join(ROOT, floor), { recursive: true, encoding: 'utf8' })
    .map((file) => path.posix.join(floor, file.split(path.sep).join('/')))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
    .filter((file) => !file.startsWith('apps/examples/'))
    .sort()
}
