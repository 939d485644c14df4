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

/** Of one that may not be pulled: nothing comes from far away, so that the next try need not be late. */
export const imageAbsent = (image: string, cause?: unknown): BrumeError =>
  new BrumeError(
    'IMAGE_ABSENT',
    `image ${image} is not on this node and \`pull\` is never: \`docker load\` it here`,
    { next: 'or leave out `pull` in the application file', cause }
  )
