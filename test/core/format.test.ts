import test from 'brittle'
import type { BrumeError } from '../../core/errors.ts'
import { declare } from '../../core/state/apply.ts'
import { FORMAT } from '../../core/state/mesh.ts'
import { operations, type Op } from '../../core/state/index.ts'
import { keys } from '../../core/state/keys.ts'
import { literal, object } from '../../core/state/shape.ts'
import type { ApplicationRecord } from '../../core/state/state.ts'
import { createMesh, untilMesh, untilState, type MeshNode } from '../helpers/mesh.ts'
import { Switchboard } from '../helpers/switchboard.ts'
import { waitUntil } from '../helpers/wait.ts'

const MARK = { type: 'application.mark' } as unknown as Op
const at = 0

/** A later version: an op that this one does not have. */
const LATER = FORMAT + 1
const later = operations(LATER, {
  'application.mark': declare<{ type: 'application.mark' }>({
    shape: object({ type: literal('application.mark') }),
    since: LATER,
    async apply(_, { view }) {
      for (const { value } of await view.list<ApplicationRecord>(keys.applications)) {
        await view.put(keys.application(value.name), { ...value, at: 42 })
      }
      return null
    }
  }) as never
})

const marked = ({ mesh }: MeshNode): boolean =>
  [...mesh.state.applications.values()].every((application) => application.at === 42)

test(
  'format - its ops act after the switch and never before; an older daemon stands still until it is upgraded',
  { timeout: 90_000 },
  async (t) => {
    const board = new Switchboard()
    const knows = new Map([['n2', operations()]])
    const { nodes } = await createMesh(3, t, {
      openSwarm: board.open,
      // Made by the version before: this one.
      operations: (name) => (name === 'n0' ? undefined : (knows.get(name) ?? later))
    })
    const [a, b, old] = nodes as [MeshNode, MeshNode, MeshNode]
    await b.mesh.append([{ type: 'application.set', name: 'app', over: null, at }])
    const early = await b.mesh.append([MARK]).catch((error: BrumeError) => error)
    t.is((early as BrumeError).code, 'OP_REFUSED')
    for (const node of nodes) await untilState(node, (state) => state.applications.size === 1)

    // One batch: no op of it may be read by the old rules.
    await a.stop()
    const stop = { type: 'application.set' as const, name: 'after', over: null, at }
    await b.mesh.append([{ type: 'format.activate', format: LATER, at }, MARK, stop])
    t.ok(b.mesh.state.applications.get('app')?.at === 42)
    t.ok(b.mesh.state.applications.has('after'))
    const written = async (): Promise<string> =>
      old.mesh.append([stop]).then(
        () => 'WRITTEN',
        ({ code }: BrumeError) => code
      )
    await waitUntil(async () => (await written()) === 'UPGRADE_NEEDED', 20_000)
    t.is(old.mesh.state.format, FORMAT, 'it keeps the view it understands')
    t.is(old.mesh.state.applications.get('app')?.at, 0)
    await old.restart()
    await waitUntil(async () => (await written()) === 'UPGRADE_NEEDED', 20_000)

    knows.set('n2', later)
    await old.restart()
    await untilState(old, (state) => state.format === LATER && state.applications.has('after'))
    t.is(old.mesh.state.applications.get('app')?.at, 42)
    await old.mesh.append([MARK])
    await waitUntil(() => [b, old].every(marked))
    await untilMesh(b, ({ state }) => state.applications.size === 2)
    t.alike([...b.mesh.state.applications], [...old.mesh.state.applications])
  }
)
