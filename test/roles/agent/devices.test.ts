import test from 'brittle'
import { isDevice } from '../../../roles/agent/devices.ts'

test('devices - a device file is one, and a directory of them; nothing else', async (t) => {
  t.ok(await isDevice('/dev/null'))
  t.ok(await isDevice('/dev'))
  t.absent(await isDevice('/dev/there-is-none'))
  t.absent(await isDevice(new URL(import.meta.url).pathname))
})
