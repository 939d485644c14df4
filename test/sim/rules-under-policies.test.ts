/**
 * The rules that a mesh cannot do without, and what each policy promises, under every combination of
 * policies: small meshes whose stories are told once, for all the tests below.
 */
import test, { type Assert } from 'brittle'
import { COMBINATIONS, wordsOf, type Combination } from './small/policies.ts'
import { STORIES, tell, type Story } from './small/story.ts'
import type { Finding, Rule } from './small/watch.ts'

interface Told {
  story: Story
  combination: Combination
  findings: Finding[]
  judged: ReadonlyMap<Rule, number>
}

const SLOW = { timeout: 300_000 }

const RULES: Record<Rule, string> = {
  presence: 'alive is who can be reached over links that both ends list',
  content: 'what is no part of a container starts none again, nor does what befalls its node',
  handover: 'who lost a placement runs on, and says so, until the other runs it healthily',
  adoption: 'a slot goes to who runs it, but for a person’s word',
  settle: 'nothing moves for a second after the alive or the order changed',
  replace: 'auto with half of the nodes, always, never; nothing that is tied to a node',
  reconcile: 'the original, the replacement or the better one stays',
  stopAfter: 'a copy that is alone stops after that, no other, and comes back',
  order: 'the new container is up before the old one ends, or comes after it',
  rest: 'each slot runs once, where it is placed, and nothing more is appended'
}

for (const [rule, words] of Object.entries(RULES) as [Rule, string][]) {
  test(`policies - ${rule}: ${words}`, SLOW, (t) => holds(t, rule))
}

/** Of all that was judged by one rule nothing is wrong, and there is something for each combination. */
async function holds(t: Assert, rule: Rule): Promise<void> {
  const all = await stories()
  const wrong = all.flatMap(({ story, combination, findings }) =>
    findings
      .filter((finding) => finding.rule === rule)
      .map(({ what, order }) => {
        const orders = order === null ? '' : `, order ${order}`
        return `${rule}: ${wordsOf(combination)}${orders}; ${story.words}: ${what}`
      })
  )
  t.alike(wrong, [])
  for (const combination of COMBINATIONS.filter((each) => isAsked(rule, each))) {
    const judged = all
      .filter((told) => told.combination === combination)
      .reduce((sum, told) => sum + (told.judged.get(rule) ?? 0), 0)
    t.ok(judged > 0, `${judged} times under ${wordsOf(combination)}`)
  }
}

/** Where nobody takes over nothing is handed over. */
const isAsked = (rule: Rule, { replace }: Combination): boolean =>
  rule !== 'handover' || replace !== 'never'

let told: Promise<Told[]> | null = null
const stories = (): Promise<Told[]> => (told ??= tellAll())

async function tellAll(): Promise<Told[]> {
  const all: Told[] = []
  for (const story of STORIES) {
    for (const combination of COMBINATIONS) {
      const { findings, judged } = await tell(story, combination)
      all.push({ story, combination, findings, judged })
    }
  }
  return all
}
