/** Images of this node's engine, which tells when one comes or goes. */
import type { Engine } from './engine.ts'
import type { LookoutComponents } from './lookout.ts'

/** How they are looked for; what was told of them may have been missed. */
export const IMAGES: Pick<LookoutComponents, 'everyMs' | 'againMs'> = {
  everyMs: 30_000,
  againMs: null
}

/** Whether an engine has an image; null where it does not say, which the Agent hears and tells too. */
export async function isImageIn(engine: Engine | null, image: string): Promise<boolean | null> {
  try {
    return engine && (await engine.hasImage(image))
  } catch {
    return null
  }
}
