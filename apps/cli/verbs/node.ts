/** `brume node …`: labels, names, roles, and who is in the mesh. `node ls` is `nodes`. */
import type { DroppedJson, NodeChange, NodeRemoved, NodeResult } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { tellOffline } from '../offline.ts'
import { labels, role, ROLES } from '../options.ts'
import { table, type Column } from '../print.ts'
import type { Context, Verb } from '../verb.ts'
import { nodeTable } from './nodes.ts'

interface Change {
  node: string
  change: NodeChange
}

export const nodeLabel: Verb<Change, NodeResult> = {
  describe(command) {
    command
      .argument('<node>', 'name of the node, or the beginning of its id')
      .argument('<label...>', 'KEY=VALUE sets one, KEY- removes it')
  },

  parse([node = '', ...words]) {
    const removed = words.filter((word) => word.endsWith('-') && !word.includes('='))
    const set = labels(words.filter((word) => !removed.includes(word)))
    return { node, change: { labels: { set, remove: removed.map((word) => word.slice(0, -1)) } } }
  },

  ...changes()
}

export const nodeRole: Verb<Change, NodeResult> = {
  describe(command) {
    command
      .argument('<node>', 'name of the node, or the beginning of its id')
      .argument('<role>', ROLES.join(', '))
      .option('--controller', 'it may lead and place replicas')
      .option('--no-controller', 'it may not')
  },

  parse([node = '', text = ''], { controller }) {
    const may = typeof controller === 'boolean' ? { controller } : {}
    return { node, change: { role: role(text, 'node role'), ...may } }
  },

  ...changes()
}

export const nodeRename: Verb<Change, NodeResult> = {
  describe(command) {
    command
      .argument('<node>', 'name of the node, or the beginning of its id')
      .argument('<name>', 'lower-case letters, digits and dashes')
  },

  parse: ([node = '', name = '']) => ({ node, change: { name } }),

  ...changes()
}

export const nodeLost: Verb<Change, NodeResult> = {
  describe(command) {
    command
      .argument('<node>', 'name of the node, or the beginning of its id')
      .option('--undo', 'take it back; a node that is heard again does so itself')
  },

  parse: ([node = ''], { undo }) => ({ node, change: { lost: undo !== true } }),

  ...changes()
}

export const nodeCordon: Verb<Change, NodeResult> = {
  describe(command) {
    command
      .argument('<node>', 'name of the node, or the beginning of its id')
      .option('--reason <words>', 'why, for those who ask', '')
  },

  parse: ([node = ''], { reason }) => ({
    node,
    change: { availability: { mode: 'cordoned', reason: words(reason), deadlineMs: null } }
  }),

  ...changes()
}

export const nodeUndrain: Verb<Change, NodeResult> = {
  describe(command) {
    command.argument('<node>', 'name of the node, or the beginning of its id')
  },

  parse: ([node = '']) => ({
    node,
    change: { availability: { mode: 'active', reason: '', deadlineMs: null } }
  }),

  ...changes()
}

export const nodeApprove: Verb<string, NodeResult> = {
  describe(command) {
    command.argument('<node>', 'name of a node that is pending, or the beginning of its id')
  },

  parse: ([node = '']) => node,

  request: (node, { client }) => client.post(`${pathOf(node)}/approve`, {}),

  print: printResult,

  exitCode
}

interface Removal {
  node: string
  keepKey: boolean
}

export const nodeRm: Verb<Removal, NodeRemoved> = {
  describe(command) {
    command
      .argument('<node>', 'name of the node, or the beginning of its id')
      .option('--keep-key', 'do not change the mesh key, which the node knows')
  },

  parse: ([node = ''], options) => ({ node, keepKey: options.keepKey === true }),

  request: ({ node, keepKey }, { client }) =>
    client.delete(withQuery(pathOf(node), keepKey ? { 'keep-key': '1' } : {})),

  print(answer, context, { keepKey }) {
    printResult(answer, context)
    if (keepKey) context.err.write('the mesh key stays: whoever has it can still join\n')
    else context.err.write('the mesh key was changed with it; `brume key` shows the new one\n')
  },

  exitCode
}

export const nodeDropped: Verb<string | null, DroppedJson[]> = {
  describe(command) {
    command.argument('[node]', 'name of a removed or pending node; all of them where missing')
  },

  parse: ([node]) => node ?? null,

  request: (node, { client }) => client.get(withQuery('/dropped', node === null ? {} : { node })),

  print(all, { out }) {
    out.write(table(all, DROPPED, out))
  }
}

const DROPPED: Column<DroppedJson>[] = [
  { title: 'NODE', cell: (d) => d.node },
  { title: 'WHAT', cell: (d) => d.type },
  { title: 'AT', cell: (d) => d.at },
  { title: 'OP', cell: (d) => d.op }
]

const words = (reason: unknown): string => String(reason).trim().slice(0, 200)

const pathOf = (node: string): string => `/nodes/${encodeURIComponent(node)}`

function changes(): Pick<Verb<Change, NodeResult>, 'request' | 'print' | 'exitCode'> {
  return {
    request: ({ node, change }, { client }) => client.post(pathOf(node), change),
    print: printResult,
    exitCode
  }
}

function printResult({ node, offline }: NodeResult, context: Context): void {
  context.out.write(nodeTable([node], context.out))
  tellOffline(offline, context)
}

function exitCode({ offline }: NodeResult): number {
  return offline.length > 0 ? 4 : 0
}
