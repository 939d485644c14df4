import test from 'brittle'
import { microserviceSpec, revisionOf } from '../../../core/state/microservices.ts'
import { startsFirst } from '../../../core/state/policies.ts'
import { volumeNames, volumesOf, type Volume } from '../../../core/state/volumes.ts'
import { specWith } from '../../helpers/spec.ts'

const volume = (source: string, over: Partial<Volume> = {}): Volume => ({
  source,
  container: '/data',
  readOnly: false,
  ...over
})

test('volumes - a container is made of them; without any it is what it was', (t) => {
  const none = specWith()
  const data = specWith({ volumes: [volume('data')] })
  t.is(revisionOf(none, 2), revisionOf(specWith({ volumes: [] }), 2))
  t.not(revisionOf(none, 2), revisionOf(data, 2))
  t.not(revisionOf(specWith({ volumes: [volume('logs')] }), 2), revisionOf(data, 2))
  t.is(revisionOf(data, 1), revisionOf(none, 1), 'which older versions do not know')
})

test('volumes - apply takes any, and a list that is none is empty', (t) => {
  for (const source of ['../up', '/a/../b', '/', '', 'A', '.', 'a/b', 'a\0', `${'x'.repeat(64)}`]) {
    const odd = specWith({ volumes: [volume(source)] })
    t.ok(microserviceSpec.check(odd))
    t.alike(volumesOf(odd), [], source)
    t.is(revisionOf(odd, 2), revisionOf(specWith(), 2))
  }
  for (const container of ['/', 'data', '/a/..', '/a:b', '']) {
    t.alike(volumesOf(specWith({ volumes: [volume('data', { container })] })), [], container)
  }
  t.alike(volumesOf({ volumes: 3 as unknown as Volume[] }), [])
})

test('volumes - names of a spec: of volumes, not of paths, once and in order', (t) => {
  const volumes = [
    volume('logs'),
    volume('/srv', { container: '/srv' }),
    volume('data', { container: '/x' }),
    volume('data')
  ]
  t.alike(volumeNames({ volumes }), ['data', 'logs'])
  t.alike(volumeNames({}), [])
})

test('volumes - two containers of a slot never write one', (t) => {
  const order = (...volumes: Volume[]) => startsFirst(specWith({ volumes }))
  t.absent(order(volume('data')))
  t.absent(startsFirst(specWith({ volumes: [volume('data')], update: { order: 'startFirst' } })))
  t.ok(order(volume('data', { readOnly: true })))
  t.ok(order(volume('/srv')))
})
