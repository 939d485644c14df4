import {
  isNamed,
  isVolume,
  MAX_VOLUMES,
  volumeNames,
  volumeVariable
} from '../../core/state/volumes.ts'
import type { Volume } from '../../core/state/volumes.ts'
import type { MicroserviceSpec } from '../../core/state/microservices.ts'
import type { ReadMicroservice } from './microservice.ts'
import type { Path, Problem } from './problems.ts'
import { onlyKeys, Refusal, shown, within } from './refusal.ts'

const FORMS = 'NAME:/PATH or /PATH/ON/NODE:/PATH, with :ro behind where it only reads'

/** A list of volumes, each as compose's short form has it or as a map; `read` reads one. */
export function readVolumes(value: unknown, read = readVolume): Volume[] {
  if (!Array.isArray(value)) throw new Refusal(`expected a list of volumes, got ${shown(value)}`)
  if (value.length > MAX_VOLUMES) {
    throw new Refusal(`expected at most ${MAX_VOLUMES} volumes, got ${value.length}`)
  }
  const paths = new Set<string>()
  const names = new Map<string, string>()
  return value.flatMap((item: unknown, index) =>
    within(index, () => {
      const volume = read(item)
      if (volume === null) return []
      if (paths.has(volume.container)) throw new Refusal(`${volume.container} is here twice`)
      paths.add(volume.container)
      if (!isNamed(volume)) return [volume]
      const variable = volumeVariable(volume.source)
      const twin = names.get(variable)
      if (twin !== undefined && twin !== volume.source) {
        throw new Refusal(`${twin} and ${volume.source} are both ${variable} to a process`)
      }
      names.set(variable, volume.source)
      return [volume]
    })
  )
}

function readVolume(value: unknown): Volume | null {
  if (typeof value === 'string') {
    const [source, container, mode, ...more] = value.split(':')
    const isForm = container !== undefined && more.length === 0
    if (!isForm || (mode !== undefined && mode !== 'ro' && mode !== 'rw')) {
      throw new Refusal(`expected ${FORMS}, got ${shown(value)}`)
    }
    return volumeOf(source, container, mode === 'ro', value)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(`expected ${FORMS}, got ${shown(value)}`)
  }
  onlyKeys(value, ['source', 'container', 'readOnly'])
  const { source, container, readOnly = false } = value as Record<string, unknown>
  if (typeof readOnly !== 'boolean') {
    throw new Refusal(`expected true or false, got ${shown(readOnly)}`, ['readOnly'])
  }
  return volumeOf(source, container, readOnly, source)
}

/** As ioFog has them: a bind where no type is said; null for what is no volume. */
export function readIofogVolume(value: unknown): Volume | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(`expected { hostDestination, containerDestination }, got ${shown(value)}`)
  }
  onlyKeys(value, ['id', 'hostDestination', 'containerDestination', 'accessMode', 'type'])
  const map = value as Record<string, unknown>
  const { hostDestination: source, containerDestination: container } = map
  const { accessMode = 'rw', type = 'bind' } = map
  if (type === 'volumeMount') return null
  if (type !== 'bind' && type !== 'volume') {
    throw new Refusal(`expected bind or volume, got ${shown(type)}`, ['type'])
  }
  const readOnly = readAccess(accessMode)
  const isPath = typeof source === 'string' && source.startsWith('/')
  if (isPath !== (type === 'bind')) {
    const wanted = type === 'bind' ? 'an absolute path of the node' : 'the name of a volume'
    throw new Refusal(`expected ${wanted}, got ${shown(source)}`, ['hostDestination'])
  }
  return volumeOf(source, container, readOnly, source)
}

/** As Docker's bind modes, of which `z` and `Z` are for SELinux: `rw`, `ro,z`. Whether it is only read. */
function readAccess(accessMode: unknown): boolean {
  const modes = typeof accessMode === 'string' ? accessMode.split(',') : []
  const access = modes.filter((mode) => !isLabelling(mode))
  const [mode = 'rw', ...more] = access
  if (modes.length === 0 || more.length > 0 || (mode !== 'rw' && mode !== 'ro')) {
    throw new Refusal(`expected rw or ro, got ${shown(accessMode)}`, ['accessMode'])
  }
  return mode === 'ro'
}

const isLabelling = (mode: string): boolean => mode === 'z' || mode === 'Z'

/** Whether it asks for a label of SELinux, which nodes do not set. */
export const wantsLabel = (accessMode: unknown): boolean =>
  typeof accessMode === 'string' && accessMode.split(',').some(isLabelling)

function volumeOf(
  source: unknown,
  container: unknown,
  readOnly: boolean,
  written: unknown
): Volume {
  const volume = { source: plain(source), container: plain(container), readOnly }
  if (isVolume(volume)) return volume
  const isGoodSource = isVolume({ ...volume, container: '/x' })
  if (isGoodSource) {
    throw new Refusal(`expected an absolute path in the container, got ${shown(container)}`)
  }
  if (typeof source === 'string' && !source.startsWith('/')) {
    const name = 'a name of small letters, digits, - and _ (or a path that begins with /)'
    throw new Refusal(`expected ${name}, got ${shown(source)}`)
  }
  throw new Refusal(`expected ${FORMS}, got ${shown(written)}`)
}

/** `/data/` is `/data`. */
const plain = (path: unknown): unknown =>
  typeof path === 'string' && path.length > 1 ? path.replace(/\/+$/, '') : path

/** A name that two microservices have is one volume to ioFog, and two here. */
export function sharedVolumes(
  microservices: readonly ReadMicroservice[],
  pathOf: (index: number) => Path
): Problem[] {
  const first = new Map<string, string>()
  return microservices.flatMap(({ name, spec }, index) =>
    volumeNames(spec).flatMap((volume) => {
      const other = first.get(volume)
      first.set(volume, other ?? name)
      if (other === undefined) return []
      const message = `its volume ${volume} is its own here: ${other} has another of that name`
      return [{ path: pathOf(index), message }]
    })
  )
}

/** What of the rest of a microservice cannot be beside volumes. */
export function wrongVolumes(spec: MicroserviceSpec, hasFiles: boolean, path: Path): Problem[] {
  const { volumes = [], update, disconnect } = spec
  const problems: Problem[] = []
  const inApp = volumes.findIndex(({ container }) => container === '/app')
  if (hasFiles && inApp >= 0) {
    const message = 'in /app are the `files`: take another path'
    problems.push({ path: [...path, 'volumes', inApp], message })
  }
  const named = volumes.filter(isNamed)
  if (named.some(({ readOnly }) => !readOnly) && update?.order === 'startFirst') {
    const message = `stopFirst or auto: two containers of a slot must not write volume ${named[0]?.source}`
    problems.push({ path: [...path, 'update', 'order'], message })
  }
  if (named.length > 0 && disconnect?.replace === 'always') {
    const message = `auto or never: a replica stays where its volume ${named[0]?.source} is, until \`brume move\``
    problems.push({ path: [...path, 'disconnect', 'replace'], message })
  }
  return problems
}
