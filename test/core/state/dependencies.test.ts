import test from 'brittle'
import { circleOver, dependenciesOf, wrongWith } from '../../../core/state/dependencies.ts'
import { isWholeSpec, microserviceSpec, revisionOf } from '../../../core/state/microservices.ts'
import { specWith } from '../../helpers/spec.ts'

test('dependencies - are no part of a revision', (t) => {
  const one = specWith()
  const other = specWith({ dependsOn: { db: 'healthy' } })
  t.is(revisionOf(one, 2), revisionOf(other, 2))
})

test('dependencies - apply takes any, an append only what is one', (t) => {
  const odd = specWith({ dependsOn: { db: 'soon' } as unknown as { db: 'healthy' } })
  t.ok(microserviceSpec.check(odd))
  t.absent(isWholeSpec(odd))
  t.alike(dependenciesOf(odd), {})
  t.alike(dependenciesOf(specWith({ dependsOn: { db: 'healthy' } })), { db: 'healthy' })
})

test('dependencies - a circle is found however far around it goes, and only where one is', (t) => {
  const on: Record<string, string[]> = { a: ['b', 'd'], b: ['c'], c: ['a'], d: ['e'], e: ['d'] }
  const of = (name: string): string[] => on[name] ?? []
  t.alike(circleOver('a', 'b', of), ['a', 'b', 'c', 'a'])
  t.is(circleOver('a', 'd', of), null, 'that one has a circle of its own')
  t.is(circleOver('a', 'x', of), null)
  t.alike(circleOver('a', 'a', of), ['a', 'a'])
})

test('dependencies - a health nobody looks at cannot be waited for', (t) => {
  const microservices = new Map([
    ['web', specWith({ dependsOn: { db: 'healthy', log: 'started' } })],
    ['db', specWith()],
    ['log', specWith()]
  ])
  t.ok(wrongWith('web', 'db', microservices)?.startsWith('db has no healthcheck'))
  t.is(wrongWith('web', 'log', microservices), null)
})
