import { exposureOf, publicWarnings, readPublic } from './iofog-public.ts'
import {
  isMap,
  laterContainer,
  laterEnv,
  laterFile,
  laterFlat,
  laterImages,
  laterMicroservice,
  laterPort,
  laterSpec,
  laterVolume,
  nothing,
  readIofogPort,
  type IofogName,
  type Later,
  type ReadFile,
  type WrittenFile
} from './iofog-file.ts'
import type { Path, Problem } from './problems.ts'
import { shown } from './refusal.ts'
import { wantsLabel } from './volumes.ts'

/** What a file says that we do not do, or do otherwise. */
export function warningsOf(read: ReadFile, raw: WrittenFile): Problem[] {
  const warnings: Problem[] = []
  const warn = (path: Path, message: string): void => void warnings.push({ path, message })
  const later = (map: unknown, path: Path, keys: Later): void => {
    if (!isMap(map)) return
    for (const [key, harmless] of Object.entries(keys)) {
      if (map[key] === undefined || harmless(map[key])) continue
      warn([...path, key], 'is not done yet: ignored')
    }
  }
  const renamed = (name: IofogName | null | undefined, path: Path): void => {
    if (!name || name.written === null) return
    warn(path, `${shown(name.written)} is called ${name.name} here`)
  }
  const opens = (port: unknown, name: string, path: Path): void => {
    if (!isMap(port)) return
    const found = readPublic(port, readIofogPort(port))
    const exposure = found && exposureOf(found, read.metadata.name.name, name)
    for (const [key, message] of publicWarnings(port, exposure)) warn([...path, key], message)
  }
  const runs = (run: unknown, name: string, path: Path): void => {
    if (!isMap(run)) return
    const { ports, env, volumes } = run
    if (Array.isArray(volumes)) {
      volumes.forEach((volume: unknown, i) => {
        later(volume, [...path, 'volumes', i], laterVolume)
        if (!isMap(volume) || !wantsLabel(volume['accessMode'])) return
        warn([...path, 'volumes', i, 'accessMode'], 'labels of SELinux are not set: z is ignored')
      })
    }
    if (Array.isArray(ports)) {
      ports.forEach((port: unknown, i) => {
        later(port, [...path, 'ports', i], laterPort)
        opens(port, name, [...path, 'ports', i])
      })
    }
    if (Array.isArray(env)) {
      env.forEach((variable: unknown, i) => {
        later(variable, [...path, 'env', i], laterEnv)
        const text = isMap(variable) ? variable['value'] : variable
        if (typeof text === 'string' && /\{\{|\{%/.test(text)) {
          warn([...path, 'env', i], 'template expressions are not done yet: kept as text')
        }
      })
    }
  }

  renamed(read.metadata.name, ['metadata', 'name'])
  later(raw.metadata, ['metadata'], laterFile)
  later(raw.spec, ['spec'], laterSpec)
  if (read.spec.isActivated === false) {
    warn(['spec', 'isActivated'], 'every microservice gets 0 replicas')
  }
  read.spec.microservices?.forEach((m, i) => {
    const path = ['spec', 'microservices', i]
    const written = raw.spec.microservices?.[i]
    renamed(m.name, [...path, 'name'])
    renamed(m.agent?.name, [...path, 'agent', 'name'])
    const { name, written: spelling } = read.metadata.name
    if (![name, spelling, null].includes((m.application ?? null) as string | null)) {
      warn([...path, 'application'], 'is another application: ignored')
    }
    later(written?.agent, [...path, 'agent'], { config: nothing })
    later(written?.images, [...path, 'images'], laterImages)
    later(written, path, { ...laterMicroservice, ...laterFlat })
    later(written?.container, [...path, 'container'], laterContainer)
    runs(written, m.name.name, path)
    runs(written?.container, m.name.name, [...path, 'container'])
  })
  return warnings
}
