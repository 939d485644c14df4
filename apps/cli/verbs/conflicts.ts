import type { ConflictJson, ConflictsJson, OverspentJson, SideJson } from '../../api.ts'
import { oneLine, since } from '../print.ts'
import type { Context, Verb } from '../verb.ts'

export const conflicts: Verb<null, ConflictsJson> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.get('/conflicts'),

  print({ conflicts, overspent, dropped }, context) {
    const { out, err } = context
    const rows = [
      ...conflicts.map((conflict) => shown(conflict, context)),
      ...overspent.map(shownInvite)
    ]
    out.write(rows.join('\n'))
    if (rows.length === 0) err.write('no conflicts\n')
    if (dropped > 0) err.write(`${dropped} older ones are not kept any more\n`)
  }
}

function shown({ id, noun, name, standing, lost }: ConflictJson, { now }: Context): string {
  const lines = [
    `${noun} ${name}`,
    `  stands  ${side(standing, now())}`,
    `  lost    ${side(lost, now())}`,
    `  next: brume conflict keep ${id.slice(0, 8)} puts back what lost, with --standing it stays as it is`
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function shownInvite({ invite, uses, nodes }: OverspentJson): string {
  const names = nodes.map(
    ({ name, state }) => `${oneLine(name)}${state === 'pending' ? ' (pending)' : ''}`
  )
  const lines = [
    `invite ${invite}`,
    `  for ${uses === 1 ? '1 node' : `${uses} nodes`}, let ${nodes.length} in, on two sides of a split: ${names.join(', ')}`,
    `  next: brume node rm NODE takes one out again, brume invite rm ${invite} says that all are fine`
  ]
  return lines.map((line) => `${line}\n`).join('')
}

const side = ({ by, at, has }: SideJson, now: number): string =>
  `${oneLine(by)}, ${since(at, now)} ago: ${oneLine(has)}`
