/** Verbs that ask one thing and print it: `topic` is the verb. */
import { once } from 'node:events'
import test from 'brittle'
import type {
  NetJson,
  NodeJson,
  ReplicaJson,
  ServiceNetJson,
  StatusJson
} from '../../../../apps/api.ts'
import { cli, fakeDaemon, replica, watched } from '../fake-daemon.ts'

test('ps - asks for the reference as it was typed', async (t) => {
  const refs: (string | null)[] = []
  const dir = await fakeDaemon(t, {
    'GET /replicas': ({ query }) => {
      refs.push(query.get('ref'))
      return [replica()]
    }
  })
  await cli(['ps', '--data', dir])
  await cli(['ps', 'hello/web/0', '--data', dir])
  t.alike(refs, [null, 'hello/web/0'])
  t.alike(JSON.parse((await cli(['ps', '--json', '--data', dir])).out), [replica()])
})

test('nodes - who, how they are, and when they were heard', async (t) => {
  const node = (fields: Partial<NodeJson>): NodeJson => ({
    name: 'pi-1',
    id: 'ybndrfg8ejkm',
    role: 'admin',
    labels: {},
    engine: 'docker',
    state: 'alive',
    availability: { mode: 'active', reason: '', deadlineMs: null },
    version: '0.1.0',
    lastHeardMs: 0,
    controller: true,
    dropped: 0,
    names: null,
    ...fields
  })
  const dir = await fakeDaemon(t, {
    'GET /nodes': () => [
      node({ labels: { zone: 'a', arch: 'arm' } }),
      node({ name: 'pi-2', state: 'lost', lastHeardMs: 240_000, engine: null, version: null })
    ]
  })
  t.is(
    (await cli(['nodes', '--data', dir])).out,
    'NAME   ID         STATE   LAST HEARD      ROLE    ENGINE   VERSION   LABELS\n' +
      'pi-1   ybndrfg8   alive   now             admin   docker   0.1.0     arch=arm,zone=a\n' +
      'pi-2   ybndrfg8   lost    4 minutes ago   admin   -        -         -\n'
  )
})

test('apps - wanted and running', async (t) => {
  const dir = await fakeDaemon(t, {
    'GET /applications': () => [
      {
        name: 'hello',
        microservices: 2,
        replicas: { wanted: 3, running: 2 },
        updatedAt: '2026-01-01T10:00:00Z'
      }
    ]
  })
  t.is(
    (await cli(['apps', '--data', dir])).out,
    'APPLICATION   MICROSERVICES   RUNNING   UPDATED\n' +
      'hello         2               2/3       2 hours ago\n'
  )
})

test('key - is all of stdout', async (t) => {
  const dir = await fakeDaemon(t, { 'GET /key': () => ({ key: 'brume-k' }) })
  t.alike(await cli(['key', '--data', dir]), { code: 0, out: 'brume-k\n', err: '' })
})

const PORT = { microservice: 'shop/web', host: null, path: null }

test('status - one node, its parts, and what troubles it', async (t) => {
  const answer: StatusJson = {
    name: 'pi-1',
    id: 'ybnd',
    mesh: 'mmmm',
    peers: 2,
    engine: { kind: 'docker', version: null, problem: 'the socket does not answer' },
    names: { state: 'unasked', address: null, problem: null },
    exposed: [
      { ...PORT, port: 80, open: false, problem: 'only root opens port 80' },
      { ...PORT, port: 8080, open: true, problem: null },
      { ...PORT, port: 8080, host: 'x.y', path: '/a', open: true, problem: null }
    ],
    flows: [],
    oplog: { confirmed: 4, tentative: 6 },
    leader: 'pi-2',
    term: 3,
    leaderSince: '2026-01-01T11:55:00Z',
    election: 'pi-2 holds term 3',
    version: '0.1.0',
    role: 'admin',
    pid: 12,
    uptimeMs: 5_000,
    dataDir: '/d',
    actors: [{ name: 'agent', state: 'watching', sinceMs: 4_000 }],
    refusedOps: 1,
    conflicts: 3,
    droppedOps: 0,
    locked: false,
    refusal: null,
    disk: null,
    asksForOwnEnd: false,
    indexers: [
      { name: 'pi-1', alive: true },
      { name: 'pi-3', alive: false }
    ],
    quorum: 2,
    stalled: { changes: 2, missing: ['pi-3'] },
    fork: { epoch: 0, ahead: false },
    format: { active: 1, known: 1 }
  }
  const dir = await fakeDaemon(t, { 'GET /status': () => answer })
  t.is(
    (await cli(['status', '--data', dir])).out,
    'name:          pi-1\nid:            ybnd\nmesh:          mmmm\nrole:          admin\npeers:         2\n' +
      'engine:        docker: the socket does not answer\n' +
      'open ports:    8080 for shop/web, 8080 (x.y/a) for shop/web\n' +
      'closed port:   80 for shop/web: only root opens port 80\n' +
      'oplog:         4 confirmed, 6 tentative, 1 refused\n' +
      'confirmed by:  pi-1, pi-3 (silent)\n' +
      'waits:         2 changes wait for confirmation: pi-3 is silent; if it is lost for good: brume recover\n' +
      'conflicts:     3: brume conflicts\n' +
      'leader:        pi-2 (term 3), for 5 minutes: pi-2 holds term 3\n' +
      'daemon:        brume 0.1.0, process 12, up 5 seconds\ndata:          /d\n' +
      '\nACTOR   STATE      SINCE\nagent   watching   4 seconds\n'
  )
})

test('describe - only what is said of it', async (t) => {
  const tls = { cert: '/etc/x.crt', key: '/etc/x.key' }
  const spec = {
    image: 'local/node:20',
    images: {},
    files: null,
    command: ['node', 'a b'],
    env: { X: '1' },
    labels: {},
    ports: [{ container: 80, host: null, protocol: 'tcp' }],
    expose: [
      { port: 8080, to: 80, protocol: 'tcp', on: 'all' },
      { port: 443, to: 80, protocol: 'http', on: 'zone=a', host: 'x.y', path: '/a', tls }
    ],
    resources: { cpus: 0.5, memoryBytes: 64 * 1024 * 1024 },
    replicas: 'all',
    node: null,
    constraints: [],
    restart: 'always',
    healthcheck: null
  }
  const at = '2026-01-01T11:00:00Z'
  const microservice = { name: 'web', revision: 'aaaa', spec, setBy: 'pi-1', setAt: at }
  const dir = await fakeDaemon(t, {
    'GET /describe': () => ({
      application: 'hello',
      rev: '0123456789abcdef',
      microservices: [{ ...microservice, replicas: [replica()] }]
    })
  })
  t.is(
    (await cli(['describe', 'hello', '--data', dir])).out,
    'microservice:  hello/web\nrevision:      aaaa\nset:           2026-01-01T11:00:00Z by pi-1\n' +
      'rev:           0123456789abcdef, of hello, for deploy --if-rev\n' +
      'image:         local/node:20\ncommand:       node "a b"\n' +
      'replicas:      one on every node that fits\nports:         80/tcp\n' +
      'expose:        8080->80/tcp on all nodes; ' +
      '443->80/http for x.y/a on zone=a with TLS by /etc/x.crt\nenv:           X=1\n' +
      'resources:     0.5 cpus, 64 MiB memory\nrestart:       always\n\n' +
      'APPLICATION/MICROSERVICE/SLOT   NODE   STATE     HEALTH   SINCE       PORTS   IMAGE\n' +
      'hello/web/0                     pi-1   running   -        3 minutes   -       local/node:20\n'
  )
})

test('logs - lines are told apart where there may be several replicas, and are JSON with --json', async (t) => {
  const asked: string[] = []
  const line = { application: 'hello', microservice: 'web', node: 'pi-1', stream: 'stdout' }
  const dir = await fakeDaemon(t, {
    'GET /logs': ({ query }) => {
      asked.push(query.toString())
      return {
        lines: (async function* () {
          yield { ...line, slot: 0, line: 'a' }
          yield { ...line, slot: 1, line: '  b' }
        })()
      }
    }
  })
  const several = await cli(['logs', 'hello/web', '-f', '--tail', '5', '--data', dir])
  t.is(several.out, 'web/0@pi-1 | a\nweb/1@pi-1 |   b\n')
  t.is((await cli(['logs', 'hello/web/0', '--data', dir])).out, 'a\n  b\n')
  const json = await cli(['logs', 'hello/web/0', '--json', '--data', dir])
  t.alike(JSON.parse(json.out.split('\n')[0] ?? ''), { ...line, slot: 0, line: 'a' })
  t.alike(asked.slice(0, 2), ['ref=hello%2Fweb&follow=1&tail=5', 'ref=hello%2Fweb%2F0'])
  t.is((await cli(['logs', 'web', '--tail', 'x', '--data', dir])).code, 1)
})

test('scale - both ways of saying it; waits until the rest is gone', async (t) => {
  const asked: unknown[] = []
  const gone = watched({ slot: 1, state: 'stopping', wanted: null })
  const dir = await fakeDaemon(t, {
    'GET /resolve': () => ({ application: 'hello', microservice: 'web', slot: null }),
    'POST /applications/:application/:microservice/scale': async ({ params, json }) => {
      asked.push([params.application, params.microservice, await json()])
      return { application: 'hello', changes: [], offline: [] }
    },
    'GET /watch': ({ signal }) => ({
      events: (async function* () {
        yield { event: 'replicas', data: [watched(), gone] }
        yield { event: 'replicas', data: [watched()] }
        if (!signal.aborted) await once(signal, 'abort')
      })()
    }),
    'GET /replicas': () => [replica()]
  })
  const ran = await cli(['scale', 'web=1', '--data', dir])
  t.is(ran.code, 0)
  t.ok(ran.err.includes('hello/web/1 stopping (old) on pi-1'), ran.err)
  t.ok(ran.out.includes('hello/web/0'))
  await cli(['scale', 'hello/web', 'all', '-d', '--data', dir])
  t.alike(asked, [
    ['hello', 'web', { replicas: 1 }],
    ['hello', 'web', { replicas: 'all' }]
  ])
  for (const bad of ['web', 'web=', 'web=-1', 'web=1001', 'web=1.5']) {
    t.is((await cli(['scale', bad, '--data', dir])).code, 1, bad)
  }
})

test('scale - an application or a slot is not what is scaled', async (t) => {
  let answer = {
    application: 'hello',
    microservice: null as string | null,
    slot: null as number | null
  }
  const dir = await fakeDaemon(t, { 'GET /resolve': () => answer })
  t.is(
    (await cli(['scale', 'hello=2', '--data', dir])).err,
    'brume: scale: hello is an application; name one of its microservices\n  next: brume ps hello\n'
  )
  answer = { application: 'hello', microservice: 'web', slot: 0 }
  t.is(
    (await cli(['scale', 'hello/web/0=2', '--data', dir])).err,
    'brume: scale: hello/web/0 is one replica; a whole microservice is meant\n  next: brume scale hello/web=N\n'
  )
})

test('rm - waits until nothing of it is left, but for what offline nodes have', async (t) => {
  const other = replica({ application: 'other' })
  const away = replica({ slot: 2, node: 'pi-9', state: 'unknown' })
  const looks: ReplicaJson[][] = [
    [other, away, replica({ state: 'stopping' }), replica({ slot: 1 })],
    [other, away, replica({ state: 'stopping' })],
    [other, away]
  ]
  let looked = 0
  const dir = await fakeDaemon(t, {
    'GET /resolve': () => ({ application: 'hello', microservice: null, slot: null }),
    'DELETE /applications/:application': ({ params }) => ({
      removed: [`${params.application}/web`],
      offline: ['pi-9']
    }),
    'GET /replicas': () => looks[Math.min(looked++, 2)] ?? []
  })
  const ran = await cli(['rm', 'hello', '--data', dir])
  t.is(looked, 3)
  t.alike(ran, {
    code: 4,
    out: 'hello/web\n',
    err: 'accepted; offline now, and will hear of it later: pi-9\n'
  })
})

test('rm - what does not go away in time is named; exit code 3', async (t) => {
  const dir = await fakeDaemon(t, {
    'GET /resolve': () => ({ application: 'hello', microservice: 'web', slot: null }),
    'DELETE /applications/:application/:microservice': () => ({ removed: [], offline: [] }),
    'GET /replicas': () => [replica({ state: 'stopping' })]
  })
  const ran = await cli(['rm', 'hello/web', '--timeout', '200ms', '--data', dir])
  t.is(ran.code, 3)
  t.ok(
    ran.err.startsWith(
      'brume: hello/web: nothing has changed for 0.2 s: hello/web/0 on pi-1 is stopping\n'
    ),
    ran.err
  )
})

test('net REF - where calls of a microservice go, and why', async (t) => {
  const where = { port: 8080, to: 80, protocol: 'http' as const, on: 'all', host: null, path: null }
  const open = { ...where, tls: false }
  const replica = { slot: 0, path: 'self' as const, via: null, rttMs: null, flows: 2 }
  const answer: ServiceNetJson = {
    application: 'shop',
    microservice: 'web',
    name: 'web.shop.brume',
    ports: [{ container: 80, protocol: 'tcp' }],
    replicas: [
      { ...replica, node: 'barn', why: 'runs here' },
      {
        ...replica,
        slot: 1,
        node: 'attic',
        path: 'relayed',
        via: 'hill',
        rttMs: 9,
        why: '9 ms away'
      }
    ],
    exposed: [
      { ...open, node: 'barn', open: true, reason: null },
      { ...open, node: 'gate', tls: true, open: false, reason: 'there is no /x.crt' },
      { ...open, node: 'hill', host: 'x.y', path: '/a', open: null, reason: 'hill is not in reach' }
    ]
  }
  const dir = await fakeDaemon(t, {
    'GET /net/service': ({ query }) =>
      query.get('ref') === 'web' ? answer : { ...answer, ports: [], replicas: [], exposed: [] }
  })
  t.is(
    (await cli(['net', 'web', '--data', dir])).out,
    'web.shop.brume  80/tcp\n\n' +
      'SLOT   NODE    PATH              RTT    FLOWS   WHY\n' +
      '0      barn    self              -      2       runs here\n' +
      '1      attic   relayed by hill   9 ms   2       9 ms away\n\n' +
      'NODE   PORT            FOR     TLS   STATE     WHY\n' +
      'barn   8080->80/http   -       -     open      -\n' +
      'gate   8080->80/http   -       yes   closed    there is no /x.crt\n' +
      'hill   8080->80/http   x.y/a   -     unknown   hill is not in reach\n'
  )
  const none = await cli(['net', 'shop/other', '--data', dir])
  t.is(none.out, 'web.shop.brume  no ports\nno replica is up and healthy on a node in reach\n')
})

test('net - the way to each member, and why', async (t) => {
  const row = (fields: Partial<NetJson>): NetJson => ({
    name: 'pi-1',
    id: 'ybndrfg8ejkm',
    path: 'lan',
    via: null,
    address: '192.168.1.7:49737',
    rttMs: 0.31,
    nat: 'easy',
    sinceMs: 240_000,
    tunnel: null,
    why: 'both are on one network',
    ...fields
  })
  const dir = await fakeDaemon(t, {
    'GET /net': () => [
      row({ tunnel: { path: 'lan', via: null, flows: 1 } }),
      row({ name: 'pi-2', path: 'relayed', via: 'hq', rttMs: null, why: 'not punched yet' }),
      row({
        name: 'pi-3',
        path: 'down',
        rttMs: null,
        sinceMs: null,
        nat: 'unknown',
        why: 'dialling'
      })
    ]
  })
  t.is(
    (await cli(['net', '--data', dir])).out,
    'PEER   PATH            RTT       NAT       SINCE       TUNNEL        WHY\n' +
      'pi-1   lan             0.31 ms   easy      4 minutes   lan, 1 flow   both are on one network\n' +
      'pi-2   relayed by hq   -         easy      4 minutes   -             not punched yet\n' +
      'pi-3   down            -         unknown   -           -             dialling\n'
  )
})
