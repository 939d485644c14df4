import type { ContainerRecord } from './record.ts'

/**
 * The environment of a container's process. Nothing of the daemon's own but what a command needs to be
 * found and to talk; `volumes` are the variables that say where those are.
 */
export function environmentOf(
  record: ContainerRecord,
  volumes: Record<string, string>
): Record<string, string> {
  const env: Record<string, string> = {}
  for (const name of ['PATH', 'HOME', 'LANG']) {
    const value = process.env[name]
    if (value !== undefined) env[name] = value
  }
  Object.assign(env, record.env, volumes, {
    BRUME_APPLICATION: record.application,
    BRUME_MICROSERVICE: record.microservice,
    BRUME_SLOT: String(record.slot),
    BRUME_NODE: record.owner.node
  })
  const [first] = record.ports
  if (first) env['PORT'] = String(first.host)
  for (const { container, host } of record.ports) env[`BRUME_PORT_${container}`] = String(host)
  return env
}
