/**
 * `npm run docs`: writes machines.md, pictures of the four machines made from the machines
 * themselves. `test/docs/machines.test.ts` fails while the page shows other ones.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { argv } from 'node:process'
import { fileURLToPath } from 'node:url'
import type { AnyStateMachine, AnyStateNode, AnyTransitionDefinition } from 'xstate'
import { agentMachine } from '../roles/agent/machine.ts'
import { connectorMachine } from '../roles/connector/machine.ts'
import { createController } from '../roles/controller/machine.ts'
import { createNodeMachine } from '../roles/node.ts'

export const PAGE = join(import.meta.dirname, 'machines.md')

/** The page as it should be. */
export function machinesPage(): string {
  // Drawn, never started: nothing of what they work on is needed.
  const nothing = {} as never
  const machines: [string, string, string, AnyStateMachine][] = [
    [
      'node',
      'roles/node.ts',
      'The root actor: supervises the three roles and brings them the news.',
      createNodeMachine({
        agent: nothing,
        connector: nothing,
        controller: nothing,
        mesh: nothing,
        log: nothing
      })
    ],
    [
      'agent',
      'roles/agent/machine.ts',
      'Makes the containers of this machine match the placements that name this node.',
      agentMachine
    ],
    [
      'controller',
      'roles/controller/machine.ts',
      'Leads its connected part of the mesh when it is its turn, and keeps placements in line.',
      createController(nothing)
    ],
    [
      'connector',
      'roles/connector/machine.ts',
      'Knows where every microservice can be reached.',
      connectorMachine
    ]
  ]
  const chapters = machines.map(([title, file, sentence, machine]) =>
    [`## ${title}`, `${sentence} In [\`${file}\`](../${file}).`, picture(machine)].join('\n\n')
  )
  return `${[INTRODUCTION, ...chapters].join('\n\n')}\n`
}

const INTRODUCTION = `# The machines

Made from the machines themselves by \`npm run docs\`; do not edit. An arrow says which event leads
on, with its guard in brackets; \`after x\` is the delay of that name, \`x done\` and \`x failed\` how
the actor \`x\` ended. Two arrows with one event are tried from top to bottom. A line inside a state
names the actor that runs while it is there (\`runs\`) and events it acts on without leaving
(\`hears\`).`

function picture(machine: AnyStateMachine): string {
  const { root } = machine
  const everywhere = [...notesOf(root), ...jumpsOf(root)]
  const note = everywhere.length === 0 ? [] : [`In every state: ${everywhere.join(' · ')}.`]
  return [...note, ['```mermaid', 'stateDiagram-v2', ...inside(root, 1), '```'].join('\n')].join(
    '\n\n'
  )
}

/** What stands between the braces of a state. */
function inside(state: AnyStateNode, depth: number): string[] {
  const pad = '  '.repeat(depth)
  const children = Object.values(state.states)
  if (state.type === 'parallel') {
    // The picture as a whole has no regions: there they just stand side by side.
    if (state.parent === undefined) return children.flatMap((child) => block(child, depth))
    const regions = children.map((child) => block(child, depth).join('\n'))
    return regions.join(`\n${pad}--\n`).split('\n')
  }
  const initial = state.initial.target.map((target) => `${pad}[*] --> ${idOf(target)}`)
  return [
    ...initial,
    ...children.flatMap((child) => block(child, depth)),
    ...children.flatMap((child) => arrowsFrom(child).map((arrow) => `${pad}${arrow}`))
  ]
}

function block(state: AnyStateNode, depth: number): string[] {
  const pad = '  '.repeat(depth)
  const notes = [...notesOf(state), ...jumpsOf(state)]
  const name = `${pad}state "${state.key}" as ${idOf(state)}`
  const lines = notes.map((note) => `${pad}${idOf(state)} : ${note}`)
  if (Object.keys(state.states).length === 0) return [name, ...lines]
  // A state with others in it shows no lines of its own: they go into a box beside them.
  const box =
    notes.length === 0
      ? []
      : [
          `${pad}note right of ${idOf(state)}`,
          ...notes.map((n) => `${pad}  ${n}`),
          `${pad}end note`
        ]
  return [`${name} {`, ...inside(state, depth + 1), `${pad}}`, ...box]
}

/** Actors that run while it is in this state, and events that change no state. */
function notesOf(state: AnyStateNode): string[] {
  const runs = state.invoke.map(({ src }) => `runs ${nameOf(src)}`)
  const heard = transitionsOf(state).filter(({ target }) => !target?.length)
  const events = [...new Set(heard.map((transition) => eventOf(transition, state)))]
  return [...runs, ...(events.length === 0 ? [] : [`hears ${events.join(', ')}`])]
}

/** Transitions to a state that is not beside this one: an arrow cannot cross a border. */
function jumpsOf(state: AnyStateNode): string[] {
  return transitionsOf(state).flatMap((transition) =>
    (transition.target ?? [])
      .filter((target) => target.parent !== state.parent)
      .map((target) => `${labelOf(transition, state)} leads to ${target.key}`)
  )
}

function arrowsFrom(state: AnyStateNode): string[] {
  return transitionsOf(state).flatMap((transition) =>
    (transition.target ?? [])
      .filter((target) => target.parent === state.parent)
      .map((target) => {
        const label = labelOf(transition, state)
        return `${idOf(state)} --> ${idOf(target)}${label === '' ? '' : ` : ${label}`}`
      })
  )
}

const transitionsOf = (state: AnyStateNode): AnyTransitionDefinition[] => [
  ...(state.always ?? []),
  ...[...state.transitions.values()].flat()
]

const labelOf = (transition: AnyTransitionDefinition, state: AnyStateNode): string =>
  [eventOf(transition, state), guardOf(transition)].filter((part) => part !== '').join(' ')

/** No colons and semicolons: they end a label. */
function eventOf(transition: AnyTransitionDefinition, state: AnyStateNode): string {
  const eventType = transition.eventType as string
  const ofActor = /^xstate\.(done|error)\.actor\.(\d+)\./.exec(eventType)
  if (ofActor) {
    const actor = nameOf(state.invoke[Number(ofActor[2])]?.src ?? '')
    return `${actor} ${ofActor[1] === 'done' ? 'done' : 'failed'}`
  }
  const delay = /^xstate\.after\.([^.]+)\./.exec(eventType)
  return delay ? `after ${delay[1]}` : eventType
}

/** `[mustLead]`; a guard without a name has only its place in the order. */
function guardOf({ guard }: AnyTransitionDefinition): string {
  if (guard === undefined) return ''
  const name = nameOf(guard)
  return name === '' || name === 'guard' ? '[…]' : `[${name}]`
}

/** Of what `setup()` named, with parameters or without, or of a function in place. */
function nameOf(thing: unknown): string {
  if (typeof thing === 'string') return thing
  if (typeof thing === 'object' && thing !== null && 'type' in thing) return nameOf(thing.type)
  if (typeof thing === 'function') return thing.name
  throw new Error('the pictures show actors and guards by name: name this one in setup()')
}

const idOf = (state: AnyStateNode): string => state.path.join('_')

if (argv[1] === fileURLToPath(import.meta.url)) writeFileSync(PAGE, machinesPage())
