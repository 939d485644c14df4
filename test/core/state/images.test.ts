import test from 'brittle'
import { imagesAsked, imageToHave } from '../../../core/state/images.ts'
import { revisionOf } from '../../../core/state/microservices.ts'
import { emptyState } from '../../../core/state/read.ts'
import { specWith } from '../../helpers/spec.ts'

test('images - whether one may be pulled changes no container', (t) => {
  t.is(revisionOf(specWith({ pull: 'never' }), 2), revisionOf(specWith(), 2))
})

test('images - one to have: of the architecture, where it may not be pulled', (t) => {
  const spec = specWith({ image: 'x:1', images: { arm64: 'x:arm' }, pull: 'never' })
  t.is(imageToHave(spec, 'amd64'), 'x:1')
  t.is(imageToHave(spec, 'arm64'), 'x:arm')
  t.is(imageToHave({ ...spec, image: null }, 'amd64'), null)
  t.is(imageToHave({ ...spec, pull: 'missing' }, 'amd64'), null)
  t.is(imageToHave(specWith({ image: 'x:1' }), 'amd64'), null)
})

test('images - what is asked for: of all microservices, once, and of what may come back', (t) => {
  const state = emptyState()
  const put = (name: string, image: string, pull?: 'never' | 'missing'): void => {
    const spec = specWith({ image, images: { arm64: `${image}-arm` }, ...(pull && { pull }) })
    state.microservices.set(`app/${name}`, {
      ...{ application: 'app', name, spec, revision: 'r', op: 'o', by: 'a', at: 0 }
    })
  }
  put('web', 'web:2', 'never')
  put('more', 'web:2', 'never')
  put('api', 'api:1')
  put('db', 'db:1', 'missing')
  t.alike(imagesAsked(state, 'amd64'), ['web:2'])
  t.alike(imagesAsked(state, 'arm64'), ['web:2-arm'])
  state.rollouts.set('app/web', {
    ...{ application: 'app', microservice: 'web', of: 'o', revision: 'r', state: 'running' },
    from: { revision: 'q', spec: specWith({ image: 'web:1', pull: 'never' }), op: 'n' },
    ...{ promoted: false, reason: null, log: [], op: 'o', by: 'a', at: 0 }
  })
  t.alike(imagesAsked(state, 'amd64'), ['web:1', 'web:2'])
  for (let i = 0; i < 200; i++) put(`m${i}`, `m:${i}`, 'never')
  t.is(imagesAsked(state, 'amd64').length, 128, 'and no more than a node can tell of')
})
