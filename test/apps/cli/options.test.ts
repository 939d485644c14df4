import test from 'brittle'
import { nameOf } from '../../../apps/cli/membership.ts'
import { address, duration, labels } from '../../../apps/cli/options.ts'

test('options - durations', (t) => {
  t.is(duration('250ms', '--timeout'), 250)
  t.is(duration('1.5m', '--timeout'), 90_000)
  for (const bad of ['5', '0s', '-1s', '5 m', '', 'NaNs']) {
    t.is(
      refusal(() => duration(bad, '--timeout')),
      `--timeout: expected a duration such as 30s or 5m, got "${bad}"`
    )
  }
})

test('options - labels', (t) => {
  t.alike(labels(['zone=site-a', 'a/b=', 'x=1=2']), { zone: 'site-a', 'a/b': '', x: '1=2' })
  for (const bad of ['zone', '=x', 'a b=c']) {
    t.is(
      refusal(() => labels([bad])),
      `--label: expected KEY=VALUE such as zone=site-a, got "${bad}"`
    )
  }
})

test('options - addresses', (t) => {
  for (const good of ['10.0.0.1:49737', 'host.local:1', '[fe80::1]:65535']) {
    t.is(address(good, '--peer'), good)
  }
  for (const bad of ['host', 'host:', 'host:0', 'host:65536', ':80', '::1:80', 'a b:80']) {
    t.is(
      refusal(() => address(bad, '--peer')),
      `--peer: expected HOST:PORT such as 192.168.1.7:49737, got "${bad}"`
    )
  }
})

test('options - a host name as a node’s name', (t) => {
  t.is(nameOf('Pi-1.local'), 'pi-1')
  t.is(nameOf('My_Laptop '), 'my-laptop')
  t.is(nameOf(`${'x'.repeat(62)}_y`), 'x'.repeat(62))
  t.is(nameOf('---'), null)
  t.is(nameOf(''), null)
})

function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    return (error as Error).message
  }
  return 'accepted'
}
