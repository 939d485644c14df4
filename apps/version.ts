/** A constant, so that no start pays for reading package.json; a test holds the two together. */
export const VERSION = '0.2.0'

/** Of one language on the socket: versions that share major and minor. */
export function compatible(a: string, b: string): boolean {
  return line(a) === line(b)
}

/** What a client upgrades to on the socket, for bare bytes to a replica. */
export const FLOW_PROTOCOL = 'brume-flow'

const line = (version: string): string => version.split('.').slice(0, 2).join('.')
