import { readFileSync } from 'node:fs'
import test from 'brittle'
import { compatible, VERSION } from '../../apps/version.ts'

test('version - the constant is package.json’s', (t) => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  t.is(VERSION, (JSON.parse(text) as { version: string }).version)
})

test('version - major and minor decide, the rest does not', (t) => {
  t.ok(compatible('0.1.0', '0.1.9-rc.1'))
  t.absent(compatible('0.1.0', '0.2.0'))
  t.absent(compatible('0.1.0', '1.1.0'))
})
