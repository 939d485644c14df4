/**
 * ioFog's own `Application` files (`iofog.org/v1` to `v3`), as far as our microservices go.
 * What ioFog knows and we do not do is a warning; what ioFog does not know is a problem.
 */
import type { MicroserviceSpec } from '../../core/state/microservices.ts'
import { readWith } from './fields.ts'
import { file, hintOurs, nothing, type ReadMicroservice, type WrittenFile } from './iofog-file.ts'
import { exposureOf } from './iofog-public.ts'
import { warningsOf } from './iofog-warnings.ts'
import { duplicateNames, imagesByArch, type ReadApplication } from './microservice.ts'
import { refusedFor, type Path, type Problem } from './problems.ts'
import { sharedVolumes } from './volumes.ts'
import type { YamlSource } from './yaml.ts'

/** @throws BrumeError BAD_FILE with a sentence for each problem */
export function readIofog(source: YamlSource): ReadApplication {
  const read = readWith(file, source, hintOurs)
  const listed = read.spec.microservices ?? []
  const problems = listed.flatMap((m, i) => together(m, at(i)))
  const microservices = listed.map((m) => ({
    name: m.name.name,
    spec: specOf(m, read.metadata.name.name, read.spec.isActivated !== false),
    files: null
  }))
  const names = microservices.map((m) => m.name)
  problems.push(...duplicateNames(names, (i) => [...at(i), 'name']))
  const { template } = read.spec
  if (!nothing(template ?? null) && microservices.length === 0) {
    const message =
      'an application made from a template is not done yet: write its microservices here'
    problems.push({ path: ['spec', 'template'], message })
  }
  if (problems.length > 0) throw refusedFor(source, problems)
  const warnings = [
    ...warningsOf(read, source.value as WrittenFile),
    ...sharedVolumes(microservices, at)
  ]
  return { application: read.metadata.name.name, microservices, warnings }
}

const at = (index: number): (string | number)[] => ['spec', 'microservices', index]

function specOf(m: ReadMicroservice, application: string, activated: boolean): MicroserviceSpec {
  const c = m.container
  const { ports, open } = filled(c?.ports, m.ports) ?? { ports: [], open: [] }
  const expose = open.map((one) => exposureOf(one, application, m.name.name))
  const { x86, amd64, arm, arm64 } = m.images ?? {}
  const images = imagesByArch({ x86, amd64, arm, arm64 })
  const different = new Set(Object.values(images))
  const onlyX86 = images['arm'] === undefined && images['arm64'] === undefined
  const volumes = filled(c?.volumes, m.volumes)
  const image = onlyX86 || different.size === 1 ? ([...different][0] ?? null) : null
  return {
    image,
    images,
    files: null,
    command: filled(c?.commands, c?.cmd, m.commands, m.cmd) ?? [],
    env: filled(c?.env, m.env) ?? {},
    labels: {},
    ports,
    resources: { cpus: null, memoryBytes: null },
    replicas: activated ? 1 : 0,
    node: m.agent?.name?.name ?? null,
    constraints: [],
    restart: 'always',
    healthcheck: null,
    ...(volumes && { volumes }),
    ...(expose.length > 0 && { expose })
  }
}

function filled<T extends object>(...given: (T | null | undefined)[]): T | null {
  return given.find((v): v is T => Object.keys(v ?? {}).length > 0) ?? null
}

/** What is wrong with keys that are each right alone. */
function together(m: ReadMicroservice, path: Path): Problem[] {
  const problems: Problem[] = []
  const { x86, amd64, arm, arm64 } = m.images ?? {}
  if (Object.keys(imagesByArch({ x86, amd64, arm, arm64 })).length === 0) {
    const message = 'expected an image for x86 or arm (images of a catalog are not done yet)'
    problems.push({ path: m.images ? [...path, 'images'] : path, message })
  }
  for (const key of ['ports', 'env', 'commands', 'cmd', 'volumes'] as const) {
    if (!filled(m[key]) || !filled(m.container?.[key])) continue
    problems.push({ path: [...path, key], message: `given here and in container.${key}` })
  }
  return problems
}
