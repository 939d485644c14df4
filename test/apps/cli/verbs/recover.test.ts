import test from 'brittle'
import type { RecoverPlan } from '../../../../apps/api.ts'
import { cli, fakeDaemon } from '../fake-daemon.ts'

const tty = { columns: 120, rows: 40 }
const plan = (fields: Partial<RecoverPlan> = {}): RecoverPlan => ({
  confirms: false,
  missing: ['pi-2', 'pi-3'],
  members: 5,
  reached: 3,
  unreached: ['pi-2', 'pi-3'],
  minority: false,
  ...fields
})

async function daemon(
  t: Parameters<typeof fakeDaemon>[0],
  answer: RecoverPlan
): Promise<{ dir: string; posted: unknown[] }> {
  const posted: unknown[] = []
  const dir = await fakeDaemon(t, {
    'GET /recover': () => answer,
    'POST /recover': async (request) => {
      posted.push(await request.json())
      return { epoch: 1, reached: 3, members: 5 }
    }
  })
  return { dir, posted }
}

test('recover - asks twice, and a no at either ends it', async (t) => {
  const { dir, posted } = await daemon(t, plan())
  for (const input of ['', 'n\n', 'y\nn\n', 'y\n']) {
    const { code, err } = await cli(['recover', '--data', dir], { tty, input })
    t.is(code, 130)
    t.ok(err.includes('pi-2, pi-3 confirmed the order of changes and cannot be reached'))
  }
  t.alike(posted, [])
  const { code, out } = await cli(['recover', '--data', dir], { tty, input: 'y\nyes\n' })
  t.is(code, 0)
  t.ok(out.includes('3 of 5 members go on'))
  t.alike(posted, [{ minority: false }])
})

test('recover - without a terminal only with --yes; what cannot be is not asked about', async (t) => {
  const { dir, posted } = await daemon(t, plan())
  const refused = await cli(['recover', '--data', dir], { input: 'y\ny\n' })
  t.is(refused.code, 1)
  t.ok(refused.err.includes('brume recover --yes'))
  t.is((await cli(['recover', '--yes', '--data', dir])).code, 0)
  t.alike(posted, [{ minority: false }])
  const few = await daemon(t, plan({ minority: true }))
  await cli(['recover', '--data', few.dir], { tty, input: '' })
  t.alike(few.posted, [{ minority: false }], 'the daemon says why not')
  const asked = await cli(['recover', '--minority', '--data', few.dir], { tty, input: 'y\ny\n' })
  t.ok(asked.err.includes('may be going on as well'))
  t.alike(few.posted, [{ minority: false }, { minority: true }])
})

test('upgrade - says what changed, or that there is nothing', async (t) => {
  const answers = [
    { from: 1, to: 1 },
    { from: 1, to: 2 }
  ]
  const dir = await fakeDaemon(t, { 'POST /upgrade': () => answers.shift() ?? {} })
  t.is(
    (await cli(['upgrade', '--data', dir])).out,
    'nothing to upgrade: format 1 is the newest this version knows\n'
  )
  t.is(
    (await cli(['upgrade', '--data', dir])).out,
    'the mesh uses format 2 from here on (1 before)\n'
  )
})
