import test from 'brittle'
import type Autobase from 'autobase'
import { acksAfterMerges } from '../../core/merge.ts'

test('merge - nothing is acknowledged while much is to be applied, but for what does not come', (t) => {
  let now = 0
  const mayAck = acksAfterMerges(() => now)
  const base = (...lacking: number[]): Autobase<never> =>
    ({
      activeWriters: lacking.map((n) => ({ core: { length: 100 + n }, length: 100 }))
    }) as unknown as Autobase<never>
  t.ok(mayAck(base(0, 0)))
  t.ok(mayAck(base(63, -5)), 'a few are applied in no time')
  t.absent(mayAck(base(40, 40)))
  now += 14_999
  t.absent(mayAck(base(64)))
  t.ok(mayAck(base()), 'all is here')
  now += 5_000
  t.absent(mayAck(base(64)), 'the time begins anew')
  now += 15_000
  t.ok(mayAck(base(64)), 'nobody has it')
})
