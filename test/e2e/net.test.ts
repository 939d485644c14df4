/**
 * Real daemons behind real NATs. What is asserted is the path that was taken, as `brume net` says
 * it, not only that there is one.
 */
import test from 'brittle'
import type { NetJson } from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'

const row = (all: NetJson[], name: string): NetJson | undefined =>
  all.find((each) => each.name === name)

/** Waits for a link of `from` to `to` and says what `brume net` does. */
async function pathTo(
  from: FleetNode,
  to: string,
  holds: (row: NetJson) => boolean,
  ms = 30_000
): Promise<NetJson> {
  const all = await from.until<NetJson[]>(
    ['net'],
    (rows) => rows.some((each) => each.name === to && holds(each)),
    ms
  )
  return row(all, to) as NetJson
}

test(
  'net - behind NATs: easy ones are punched, symmetric ones relayed at once by a member that is open',
  { timeout: 180_000 },
  async (t) => {
    const lab = await createLab(
      {
        lans: [
          { router: 'easy', hosts: 1 },
          { router: 'easy', hosts: 1 },
          { router: 'symmetric', hosts: 1 },
          { router: 'symmetric', hosts: 1 }
        ],
        open: 2
      },
      t
    )
    // n1 is the open one: it lets the others in.
    const { nodes } = await createFleet(t, lab, { engines: false, on: [4, 0, 1, 2, 3] })
    const [open, easy, , symmetric] = nodes as FleetNode[] as [
      FleetNode,
      FleetNode,
      FleetNode,
      FleetNode
    ]
    const me = row(await open.json<NetJson[]>('net'), 'n1')
    t.is(me?.nat, 'open')

    const punched = await pathTo(easy, 'n3', ({ path }) => path === 'direct')
    t.is(punched.why, 'punched: both NATs keep ports')
    t.is(punched.nat, 'easy')
    const relayed = await pathTo(
      symmetric,
      'n5',
      ({ path, nat }) => path !== 'down' && nat !== 'unknown'
    )
    t.is(relayed.path, 'relayed')
    t.is(relayed.via, 'n1')
    t.is(relayed.nat, 'symmetric')
    t.is(relayed.why, 'neither NAT keeps ports, so none can be punched')
    const mixed = await pathTo(easy, 'n4', ({ path }) => path !== 'down')
    t.ok(mixed.path === 'direct' || mixed.via === 'n1', mixed.why)
    for (const node of nodes)
  }
)
