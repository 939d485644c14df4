import { isDevicePath, MAX_DEVICES, type Device } from '../../core/state/devices.ts'
import { onlyKeys, Refusal, shown, within } from './refusal.ts'

const FORMS = '/dev/NAME, HOST:CONTAINER or HOST:CONTAINER:rwm'

/** A list of device files of the node, each as `docker run --device` has it or as a map. */
export function readDevices(value: unknown): Device[] {
  if (!Array.isArray(value)) throw new Refusal(`expected a list of devices, got ${shown(value)}`)
  if (value.length > MAX_DEVICES) {
    throw new Refusal(`expected at most ${MAX_DEVICES} devices, got ${value.length}`)
  }
  const taken = new Set<string>()
  return value.map((item: unknown, index) =>
    within(index, () => {
      const device = typeof item === 'string' ? fromText(item) : fromMap(item)
      if (taken.has(device.container)) throw new Refusal(`${device.container} is here twice`)
      taken.add(device.container)
      return device
    })
  )
}

/** A path of udev may have colons itself: what begins with a slash is another path. */
function fromText(text: string): Device {
  const match = /^(\/.*?)(?::(\/.*?))?(?::([rwm]{1,3}))?$/.exec(text)
  const [, host, container = host, permissions = 'rwm'] = match ?? []
  return checked({ host, container, permissions }, text)
}

function fromMap(value: unknown): Device {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(`expected ${FORMS}, got ${shown(value)}`)
  }
  onlyKeys(value, ['host', 'container', 'permissions'])
  const { host, container = host, permissions = 'rwm' } = value as Record<string, unknown>
  return checked({ host, container, permissions }, host)
}

function checked(
  { host, container, permissions }: Record<keyof Device, unknown>,
  written: unknown
): Device {
  if (!isDevicePath(host)) throw new Refusal(`expected ${FORMS}, got ${shown(written)}`)
  if (typeof container !== 'string' || !/^\/\S{1,159}$/u.test(container)) {
    throw new Refusal(`expected a path in the container, got ${shown(container)}`)
  }
  const letters = typeof permissions === 'string' ? new Set(permissions) : new Set(['?'])
  if (letters.size === 0 || [...letters].some((letter) => !'rwm'.includes(letter))) {
    throw new Refusal(`expected permissions such as rw or rwm, got ${shown(permissions)}`)
  }
  const inOrder = [...'rwm'].filter((letter) => letters.has(letter)).join('')
  return { host, container, permissions: inOrder }
}
