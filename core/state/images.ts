/**
 * Images that may not be pulled, which have to be on a node already: nodes look for those, and for no
 * others.
 */
import { imageFor, type MicroserviceSpec } from './microservices.ts'
import { bool, map, text } from './shape.ts'
import type { State } from './state.ts'

/** Nodes look for so many and no more. */
export const MAX_IMAGES_ASKED = 128
/** What a node says of those that are asked for: whether it has each. */
export const imagesFound = map(text(512, 1), bool, MAX_IMAGES_ASKED)

/** The image a node of this architecture has to have; null where it may pull it, or there is none for it. */
export const imageToHave = (spec: MicroserviceSpec, arch: string): string | null =>
  spec.pull === 'never' ? imageFor(spec, arch) : null

/** Those a node of this architecture looks for, of what may come back too; in order, the first of them. */
export function imagesAsked({ microservices, rollouts }: State, arch: string): string[] {
  const images = new Set<string>()
  const see = (spec: MicroserviceSpec): void => {
    const image = imageToHave(spec, arch)
    if (image !== null) images.add(image)
  }
  for (const { spec } of microservices.values()) see(spec)
  for (const { from } of rollouts.values()) if (from !== null) see(from.spec)
  return [...images].sort().slice(0, MAX_IMAGES_ASKED)
}
