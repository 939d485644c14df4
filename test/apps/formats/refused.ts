import { BrumeError } from '../../../core/errors.ts'
import { parseApplication } from '../../../apps/formats/application.ts'

/** The sentences of what `text` is refused for; anything but a BrumeError fails the test. */
export function refusedLines(text: string, file = 'app.yaml'): string[] {
  try {
    parseApplication(text, file)
  } catch (error) {
    if (error instanceof BrumeError && error.code === 'BAD_FILE' && error.next !== null) {
      return error.message.split('\n')
    }
    throw error
  }
  return []
}

/** A file of ours with one microservice, whose keys are `body`, one a line. */
export function ours(...body: string[]): string {
  return [
    'apiVersion: brume/v1',
    'kind: Application',
    'metadata: { name: hello }',
    'spec:',
    '  microservices:',
    '    - name: web',
    ...body.map((line) => `      ${line}`),
    ''
  ].join('\n')
}
