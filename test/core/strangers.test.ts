import test from 'brittle'
import type { Link } from '../../core/links.ts'
import { Strangers } from '../../core/strangers.ts'

test('strangers - a link to a node that nobody knows ends after a grace, and each gets its own', (t) => {
  const strangers = new Strangers()
  const nodes = new Map<string, unknown>([['member', {}]])
  const overdue = (links: Link[], now: number): string[] =>
    strangers.overdue(links, nodes, now).map(({ id }) => id)
  const links = [link('member', 0), link('late', 0), link('never', 0)]
  t.alike(overdue(links, 100_000), [], 'however old the link is: it may have been known till now')
  t.alike(overdue(links, 119_000), [])
  nodes.set('late', {})
  t.alike(overdue(links, 120_000), ['never'], 'the admission of the other one arrived')
  t.alike(overdue([link('never', 121_000)], 121_000), [], 'it greeted anew')
  t.alike(overdue([link('never', 121_000)], 141_000), ['never'])
  nodes.delete('late')
  t.alike(overdue([link('late', 0)], 142_000), [], 'it is known no more: from now on')
})

const link = (id: string, since: number): Link => ({ id, since }) as Link
