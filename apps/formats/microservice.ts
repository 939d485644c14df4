import type { MicroserviceSpec } from '../../core/state/microservices.ts'
import type { Path, Problem } from './problems.ts'
import { Refusal, shown } from './refusal.ts'

/** One microservice as a file says it, whichever format the file has. */
export interface ReadMicroservice {
  name: string
  spec: MicroserviceSpec
  /** As written; null without one. */
  files: string | null
}

/** What one application file holds. */
export interface ReadApplication {
  application: string
  microservices: ReadMicroservice[]
  warnings: Problem[]
}

export function readImage(value: unknown): string {
  const good = typeof value === 'string' && value.length <= 512 && /^[^\s\p{Cc}]+$/u.test(value)
  if (good) return value
  throw new Refusal(`expected an image such as local/node:20, got ${shown(value)}`)
}

/**
 * An image for each architecture from the file's words for them: ioFog's `x86` is amd64, `arm`
 * also serves arm64 where that has none of its own.
 */
export function imagesByArch(images: {
  x86?: string | null
  amd64?: string | null
  arm?: string | null
  arm64?: string | null
}): Record<string, string> {
  const byArch: Record<string, string> = {}
  const put = (arch: string, image: string | null | undefined): void => {
    if (image !== null && image !== undefined) byArch[arch] = image
  }
  put('amd64', images.amd64 ?? images.x86)
  put('arm64', images.arm64 ?? images.arm)
  put('arm', images.arm)
  return byArch
}

/** Every name that is taken twice. */
export function duplicateNames(
  names: readonly string[],
  pathOf: (index: number) => Path
): Problem[] {
  const seen = new Map<string, number>()
  return names.flatMap((name, index) => {
    const first = seen.get(name)
    if (first === undefined) {
      seen.set(name, index)
      return []
    }
    return [{ path: pathOf(index), message: `microservices[${first}] is called ${name} too` }]
  })
}

/** What can never all run, said where it is written. */
export function crowdedPorts(spec: MicroserviceSpec, path: Path): Problem[] {
  const fixed = spec.ports.find((port) => port.host !== null)
  const { replicas, node } = spec
  if (!fixed || node === null || replicas === 'all' || replicas < 2) return []
  const message =
    `${replicas} replicas want port ${fixed.host} of the one node ${node}: one of them gets it, ` +
    'give CONTAINER alone for free ports'
  return [{ path: [...path, 'ports'], message }]
}

export function readCount(value: unknown, min: number, max: number, orElse = ''): number {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) {
    return value as number
  }
  throw new Refusal(`expected a whole number from ${min} to ${max}${orElse}, got ${shown(value)}`)
}
