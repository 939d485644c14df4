import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'brittle'
import type { DeployRequest, ErrorJson, WatchedReplica } from '../../../../apps/api.ts'
import { packBundle } from '../../../../apps/cli/bundle.ts'
import { cli, fakeDaemon, replica, tempDir, watched, type Script } from '../fake-daemon.ts'

const TABLE =
  'APPLICATION/MICROSERVICE/SLOT   NODE   STATE     HEALTH   SINCE       PORTS   IMAGE\n' +
  'hello/web/0                     pi-1   running   -        3 minutes   -       local/node:20\n'

test('deploy - packs, sends, waits, and prints what runs', async (t) => {
  const file = await application(t)
  const bundles: Buffer[] = []
  const requests: DeployRequest[] = []
  const dir = await fakeDaemon(t, {
    ...daemon([[watched({ state: 'starting' })], [watched()]]),
    'POST /bundles': async ({ body }) => {
      const chunks: Buffer[] = []
      for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk)
      bundles.push(Buffer.concat(chunks))
      return BUNDLE
    },
    'POST /applications': async ({ json }) => {
      requests.push(await json<DeployRequest>())
      return RESULT
    }
  })
  const ran = await cli(['deploy', '-f', file, '--data', dir])
  t.is(ran.code, 0)
  t.is(ran.out, TABLE)
  t.is(
    ran.err.replaceAll(/\d\.\ds/g, 'Ns'),
    'sending the files of web\n' +
      'hello/web/0 starting on pi-1 (Ns)\n' +
      'hello/again/0 running on pi-1 (Ns)\n' +
      'hello/web/0 running on pi-1 (Ns)\n'
  )
  t.is(bundles.length, 1, 'two microservices with the same files: one bundle')
  t.ok(bundles[0]?.equals(await packBundle(join(file, '../web'), 'x')))
  t.alike(
    requests[0]?.microservices.map((m) => [m.name, m.spec.files]),
    [
      ['web', BUNDLE],
      ['again', BUNDLE]
    ]
  )
})

test('deploy - with --json: what changed and what runs, without the words of the watch', async (t) => {
  const dir = await fakeDaemon(t, daemon([[watched()]]))
  const ran = await cli(['deploy', '-f', await application(t), '--json', '--data', dir])
  t.alike(JSON.parse(ran.out), { ...RESULT, replicas: [replica()] })
})

test('deploy - a file that cannot be is refused before anything is sent', async (t) => {
  const dir = await tempDir(t)
  const file = join(dir, 'app.yaml')
  writeFileSync(file, 'apiVersion: brume/v1\nkind: Applicatoin\n')
  const ran = await cli(['deploy', '-f', file, '--data', dir])
  t.is(ran.code, 1)
  t.ok(ran.err.includes('app.yaml'), 'not: no daemon runs')
  t.is((await cli(['deploy', '-f', file, '--timeout', '5', '--data', dir])).code, 1)
})

test('deploy - a failure: cause, the last ten lines of the log, the next command; exit code 1', async (t) => {
  const dead = watched({ state: 'restarting', reason: 'exit code 7' })
  const again = watched({ state: 'starting' })
  const dir = await fakeDaemon(t, {
    ...daemon([[dead], [again], [dead], [again], [dead]]),
    'GET /logs': ({ query }) => ({
      lines: (async function* () {
        for (let i = 0; i < 12; i++) yield { line: `${query.get('ref')} ${query.get('tail')} ${i}` }
      })()
    })
  })
  const ran = await cli(['deploy', '-f', await application(t), '--json', '--data', dir])
  t.is(ran.code, 1)
  const lines = ran.err.split('\n')
  const log = Array.from({ length: 10 }, (_, i) => `  hello/web/0 10 ${i + 2}`)
  t.alike(lines.slice(-13), [
    'brume: hello/web/0 failed on pi-1: failed 3 times: exit code 7',
    ...log,
    `  next: brume logs hello/web/0 --data ${dir}`,
    ''
  ])
  t.is((JSON.parse(ran.out) as ErrorJson).error.code, 'REPLICA_FAILED')
})

test('deploy - a failure without a log says so, and has its cause all the same', async (t) => {
  const dir = await fakeDaemon(t, daemon([[watched({ state: 'failed', reason: 'no image' })]]))
  const ran = await cli(['deploy', '-f', await application(t), '--data', dir])
  t.ok(ran.err.includes('brume: hello/web/0 failed on pi-1: no image\n  (no log: '), ran.err)
})

test('deploy - nothing changes for the timeout: exit code 3, and what is missing', async (t) => {
  const waiting = watched({ node: null, state: 'waiting', reason: 'no node has zone=x' })
  const dir = await fakeDaemon(t, daemon([[waiting]]))
  const ran = await cli(['deploy', '-f', await application(t), '--timeout', '300ms', '--data', dir])
  t.is(ran.code, 3)
  t.ok(
    ran.err.endsWith(
      'brume: hello: nothing has changed for 0.3 s: hello/web/0 is waiting (no node has zone=x)\n' +
        `  next: brume ps hello --data ${dir}\n`
    ),
    ran.err
  )
})

test('deploy - offline nodes are named, and the exit code is 4', async (t) => {
  const away = watched({ slot: 1, node: 'pi-9', state: 'unknown' })
  const dir = await fakeDaemon(t, {
    ...daemon([[watched(), away]]),
    'POST /applications': () => ({ ...RESULT, offline: ['pi-9'] })
  })
  const ran = await cli(['deploy', '-f', await application(t), '--data', dir])
  t.is(ran.code, 4)
  t.ok(ran.err.endsWith('accepted; offline now, and will hear of it later: pi-9\n'), ran.err)
})

test('deploy - Ctrl-C leaves it going and says so; exit code 130', async (t) => {
  const dir = await fakeDaemon(t, daemon([[watched({ state: 'pulling' })]]))
  const ran = await cli(['deploy', '-f', await application(t), '--data', dir], {
    interrupt: () => AbortSignal.timeout(100)
  })
  t.is(ran.code, 130)
  t.ok(ran.err.endsWith(`brume: still deploying; brume ps hello --data ${dir}\n`), ran.err)
})

test('deploy - --detach does not wait', async (t) => {
  const script = daemon([])
  delete script['GET /watch']
  const dir = await fakeDaemon(t, script)
  const ran = await cli(['deploy', '-d', '-f', await application(t), '--data', dir])
  t.alike([ran.code, ran.out], [0, TABLE])
})

test('deploy - a daemon that stops meanwhile is not success', async (t) => {
  const dir = await fakeDaemon(t, {
    ...daemon([]),
    'GET /watch': () => ({
      events: (async function* () {
        yield { event: 'replicas', data: [watched({ state: 'starting' })] }
      })()
    })
  })
  const ran = await cli(['deploy', '-f', await application(t), '--data', dir])
  t.is(ran.code, 1)
  t.ok(ran.err.includes('brume: the daemon stopped; hello goes on as it was asked for\n'), ran.err)
})

const BUNDLE = {
  digest: 'a'.repeat(64),
  bytes: 1,
  core: 'b'.repeat(64),
  blockOffset: 0,
  blockLength: 1,
  byteOffset: 0
}
const RESULT = {
  application: 'hello',
  changes: [{ microservice: 'web', change: 'created', revision: 'aaaa' }],
  offline: []
}

/** One that shows `looks`, one after the other, and then stays. */
function daemon(looks: WatchedReplica[][]): Script {
  return {
    'POST /bundles': async ({ body }) => {
      body.resume()
      await once(body, 'end')
      return BUNDLE
    },
    'POST /applications': () => RESULT,
    'GET /replicas': () => [replica()],
    'GET /watch': ({ signal }) => ({
      events: (async function* () {
        const again = watched({ microservice: 'again' })
        for (const look of looks) yield { event: 'replicas', data: [...look, again] }
        if (!signal.aborted) await once(signal, 'abort')
      })()
    })
  }
}

async function application(t: Parameters<typeof tempDir>[0]): Promise<string> {
  const dir = await tempDir(t)
  mkdirSync(join(dir, 'web'))
  writeFileSync(join(dir, 'web/server.js'), '')
  const file = join(dir, 'app.yaml')
  const microservice = (name: string): string =>
    `    - { name: ${name}, image: 'local/node:20', files: ./web, command: [node, server.js] }\n`
  writeFileSync(
    file,
    'apiVersion: brume/v1\nkind: Application\nmetadata: { name: hello }\nspec:\n  microservices:\n' +
      microservice('web') +
      microservice('again')
  )
  return file
}
