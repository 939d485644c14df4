import test from 'brittle'
import { isImageIn } from '../../../roles/agent/images.ts'
import { FakeEngine } from '../../sim/fake-engine.ts'

test('images - an engine has one, or has not, or does not say', async (t) => {
  const engine = new FakeEngine()
  engine.images.add('local/app:1')
  t.is(await isImageIn(engine, 'local/app:1'), true)
  t.is(await isImageIn(engine, 'local/app:2'), false)
  engine.crash()
  t.is(await isImageIn(engine, 'local/app:1'), null)
  t.is(await isImageIn(null, 'local/app:1'), null)
})
