/** What a container of ours is to Docker: its name, its labels, its making, and how it reads back. */
import type Docker from 'dockerode'
import { isNamed, volumeVariable, type Volume } from '../../../core/state/volumes.ts'
import type { ContainerSpec, EngineContainer, Owner, PublishedPort } from '../engine.ts'

/** Where a container has the files of its bundle. */
const FILES_AT = '/app'

export const LABEL = {
  mesh: 'brume.mesh',
  node: 'brume.node',
  application: 'brume.application',
  microservice: 'brume.microservice',
  slot: 'brume.slot',
  revision: 'brume.revision',
  volume: 'brume.volume'
} as const

/** On each list of ours, so that nobody else's is in it. */
export const ownLabels = (owner: Owner): string[] => [
  `${LABEL.mesh}=${owner.mesh}`,
  `${LABEL.node}=${owner.node}`
]

/** `network`: the id of the application's own. */
export function bodyOf(
  owner: Owner,
  spec: ContainerSpec,
  image: string,
  network: string
): Docker.ContainerCreateOptions {
  const exposed: Record<string, object> = {}
  const bindings: Record<string, { HostPort: string }[]> = {}
  for (const { container, host, protocol } of spec.ports) {
    const key = `${container}/${protocol}`
    exposed[key] = {}
    const bound = (bindings[key] ??= [])
    bound.push({ HostPort: host === null ? '' : String(host) })
  }
  const named = spec.volumes.filter(isNamed)
  const env = {
    ...spec.env,
    ...Object.fromEntries(named.map((v) => [volumeVariable(v.source), v.container])),
    BRUME_APPLICATION: spec.application,
    BRUME_MICROSERVICE: spec.microservice,
    BRUME_SLOT: String(spec.slot),
    BRUME_NODE: owner.node
  }
  return {
    Image: image,
    ...(spec.command.length > 0 ? { Cmd: spec.command } : {}),
    Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    Labels: { ...spec.labels, ...labelsOf(owner, spec) },
    ExposedPorts: exposed,
    ...(spec.filesDir !== null ? { WorkingDir: FILES_AT } : {}),
    HostConfig: {
      // The Agent alone restarts.
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
      PortBindings: bindings,
      NetworkMode: network,
      ...(spec.resolver !== null && { Dns: [spec.resolver] }),
      // A mount, not a bind: a bind makes a missing source directory instead of refusing.
      Mounts: mountsOf(owner, spec),
      ...(spec.devices.length > 0 && {
        Devices: spec.devices.map(({ host, container, permissions }) => ({
          PathOnHost: host,
          PathInContainer: container,
          CgroupPermissions: permissions
        }))
      }),
      ...(spec.memoryBytes !== null ? { Memory: spec.memoryBytes } : {}),
      ...(spec.cpus !== null ? { NanoCpus: Math.round(spec.cpus * 1e9) } : {})
    }
  }
}

function mountsOf(owner: Owner, spec: ContainerSpec): Docker.MountSettings[] {
  const files: Docker.MountSettings[] =
    spec.filesDir === null
      ? []
      : [{ Type: 'bind', Source: spec.filesDir, Target: FILES_AT, ReadOnly: true }]
  const mountOf = (volume: Volume): Docker.MountSettings => ({
    Type: isNamed(volume) ? 'volume' : 'bind',
    Source: isNamed(volume) ? volumeNameOf(owner, spec, volume.source) : volume.source,
    Target: volume.container,
    ReadOnly: volume.readOnly
  })
  return [...files, ...spec.volumes.map(mountOf)]
}

/** Unique on an engine that several nodes share. */
export function nameOf(owner: Owner, spec: ContainerSpec): string {
  const { application, microservice, slot, revision } = spec
  const node = owner.node.slice(0, 6)
  return `brume-${node}-${application}-${microservice}-${slot}-${revision.slice(0, 6)}`
}

/** No name has a dot in it: no two volumes come to one. */
export function volumeNameOf(
  owner: Owner,
  { application, microservice, slot }: Pick<ContainerSpec, 'application' | 'microservice' | 'slot'>,
  name: string
): string {
  return `brume-${owner.node.slice(0, 6)}-${application}.${microservice}.${slot}.${name}`
}

export function labelsOf(owner: Owner, spec: ContainerSpec): Record<string, string> {
  return {
    [LABEL.mesh]: owner.mesh,
    [LABEL.node]: owner.node,
    [LABEL.application]: spec.application,
    [LABEL.microservice]: spec.microservice,
    [LABEL.slot]: String(spec.slot),
    [LABEL.revision]: spec.revision
  }
}

export function engineContainerOf(inspected: Docker.ContainerInspectInfo): EngineContainer {
  const { Id, Config, Mounts, State, NetworkSettings } = inspected
  const labels = Config.Labels
  const startedAt = Date.parse(State.StartedAt)
  // Docker says 0001-01-01 for never; a start that failed leaves the container `created`.
  const ran = startedAt > 0
  const state = State.Running ? 'running' : ran ? 'exited' : 'created'
  return {
    id: Id,
    application: labels[LABEL.application] ?? '',
    microservice: labels[LABEL.microservice] ?? '',
    slot: Number(labels[LABEL.slot]),
    revision: labels[LABEL.revision] ?? '',
    image: Config.Image,
    state,
    startedAt: ran ? startedAt : null,
    exitCode: state === 'exited' ? State.ExitCode : null,
    ports: state === 'running' ? portsOf(NetworkSettings.Ports) : [],
    exposes: Object.keys(Config.ExposedPorts ?? {}).map(exposed),
    filesDir: Mounts.find(({ Destination }) => Destination === FILES_AT)?.Source ?? null,
    address: state === 'running' ? addressOf(NetworkSettings.Networks) : null
  }
}

function addressOf(networks: Record<string, { IPAddress: string }>): string | null {
  const addresses = Object.values(networks).map(({ IPAddress }) => IPAddress)
  return addresses.find((address) => address !== '') ?? null
}

/** `80/tcp` */
function exposed(key: string): EngineContainer['exposes'][number] {
  const [container, protocol] = key.split('/')
  return { container: Number(container), protocol: protocol === 'udp' ? 'udp' : 'tcp' }
}

/** One entry a port: Docker binds IPv4 and IPv6 apart. */
function portsOf(bound: Record<string, { HostPort: string }[] | null>): PublishedPort[] {
  const ports = new Map<string, PublishedPort>()
  for (const [key, bindings] of Object.entries(bound)) {
    const [container, protocol] = key.split('/')
    for (const { HostPort } of bindings ?? []) {
      ports.set(`${key} ${HostPort}`, {
        container: Number(container),
        host: Number(HostPort),
        protocol: protocol === 'udp' ? 'udp' : 'tcp'
      })
    }
  }
  return [...ports.values()]
}
