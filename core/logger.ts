/** What the floors log with: pino's manners, so that nothing below apps/ knows where lines go. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export const silent: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {}
}
