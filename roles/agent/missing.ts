/** What a container asks of its node that is not there: the same words from every engine. */
import { BrumeError } from '../../core/errors.ts'

export const deviceMissing = (device: string, cause?: unknown): BrumeError =>
  new BrumeError('DEVICE_MISSING', `device ${device} is not on this node`, {
    next: 'plug it in, or correct `devices` in the application file',
    cause
  })

export const pathMissing = (path: string, cause?: unknown): BrumeError =>
  new BrumeError('VOLUME_MISSING', `${path} is not on this node`, {
    next: 'make it there, or correct `volumes` in the application file',
    cause
  })
