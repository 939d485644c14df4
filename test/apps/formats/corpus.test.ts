import test from 'brittle'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { BrumeError } from '../../../core/errors.ts'
import { parseApplication, type ParsedApplication } from '../../../apps/formats/application.ts'

/** Real files of ioFog's repositories, which are not ours to ship. */
const CORPUS = fileURLToPath(new URL('../../../../shared/corpus/iofog/', import.meta.url))

test('corpus - real ioFog applications are taken, everything else is refused in words', (t) => {
  if (!existsSync(CORPUS)) {
    const message = `the ioFog files are not at ${CORPUS}: nothing was tried`
    if (process.env['CI'] === 'true') t.fail(message)
    else t.comment(message)
    return
  }
  const rows = readFileSync(`${CORPUS}index.tsv`, 'utf8').trimEnd().split('\n').slice(1)
  let taken = 0
  for (const row of rows) {
    const [file = '', kind, , , parses, shell] = row.split('\t')
    const text = readFileSync(CORPUS + file, 'utf8')
    const result = parse(text, file)
    // Only the head of an application: its body came from a script or from a template.
    const headOnly = /^spec:\s*$(?!\n\s*\S)/m.test(text) || /^ {2}template:/m.test(text)
    if (kind === 'Application' && parses === 'yes' && shell === 'no' && !headOnly) {
      t.absent(result instanceof BrumeError, `${file}: ${sentenceOf(result)}`)
      taken++
    } else {
      t.ok(result instanceof BrumeError && result.message.startsWith(`${file}:`), file)
    }
  }
  t.ok(taken > 10, `${taken} applications`)
})

function parse(text: string, file: string): ParsedApplication | BrumeError {
  try {
    return parseApplication(text, file)
  } catch (error) {
    if (error instanceof BrumeError) return error
    throw error
  }
}

function sentenceOf(result: ParsedApplication | BrumeError): string {
  return result instanceof BrumeError ? result.message : result.application
}
