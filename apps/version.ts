/** A constant, so that no start pays for reading package.json; a test holds the two together. */
export const VERSION = '0.2.0'

/** Of one language on the socket: versions that share major and minor. */
export function compatible(a: string, b: string): boolean {
  return line(a) === line(b)
}

const line = (version: string): string => version.split('.').slice(0, 2).join('.')
