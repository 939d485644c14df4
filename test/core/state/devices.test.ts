import test from 'brittle'
import { devicesAsked, devicesOf } from '../../../core/state/devices.ts'
import { microserviceSpec, revisionOf } from '../../../core/state/microservices.ts'
import { emptyState } from '../../../core/state/read.ts'
import { specWith } from '../../helpers/spec.ts'

const device = (host: string) => ({ host, container: host, permissions: 'rwm' })

test('devices - a container is made of them; without any it is what it was', (t) => {
  const none = specWith()
  const usb = specWith({ devices: [device('/dev/ttyUSB0')] })
  t.is(revisionOf(none, 2), revisionOf(specWith({ devices: [] }), 2))
  t.not(revisionOf(none, 2), revisionOf(usb, 2))
  t.not(revisionOf(specWith({ devices: [device('/dev/ttyUSB1')] }), 2), revisionOf(usb, 2))
  t.is(revisionOf(usb, 1), revisionOf(none, 1), 'which older versions do not know')
})

test('devices - apply takes any, and a list that is none is empty', (t) => {
  const odd = specWith({ devices: [device('/etc/shadow')] })
  t.ok(microserviceSpec.check(odd))
  t.alike(devicesOf(odd), [])
  t.is(revisionOf(odd, 2), revisionOf(specWith(), 2))
})

test('devices - what is asked for: of all microservices, once, and of what may come back', (t) => {
  const state = emptyState()
  const put = (name: string, hosts: string[]): void => {
    const spec = specWith({ devices: hosts.map(device) })
    state.microservices.set(`app/${name}`, {
      ...{ application: 'app', name, spec, revision: 'r', op: 'o', by: 'a', at: 0 }
    })
  }
  put('web', ['/dev/video0', '/dev/ttyUSB0'])
  put('plc', ['/dev/ttyUSB0'])
  t.alike(devicesAsked(state), ['/dev/ttyUSB0', '/dev/video0'])
  state.rollouts.set('app/web', {
    ...{ application: 'app', microservice: 'web', of: 'o', revision: 'r', state: 'running' },
    from: { revision: 'q', spec: specWith({ devices: [device('/dev/old')] }), op: 'n' },
    ...{ promoted: false, reason: null, log: [], op: 'o', by: 'a', at: 0 }
  })
  t.alike(devicesAsked(state), ['/dev/old', '/dev/ttyUSB0', '/dev/video0'])
  const many = Array.from({ length: 10 }, (_, i) => i)
  for (const i of many)
    put(
      `m${i}`,
      Array.from({ length: 32 }, (_, j) => `/dev/x${i}-${j}`)
    )
  t.is(devicesAsked(state).length, 128, 'and no more than a node can tell of')
})
