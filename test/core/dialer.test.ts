import test from 'brittle'
import fc from 'fast-check'
import {
  backoffMs,
  dialsHeard,
  HARD_LINKS,
  linkToDrop,
  MAX_DIALS,
  MAX_LINKS,
  ringOf,
  takesLink,
  TARGET_LINKS,
  whomToDial,
  type DialInput,
  type DialState
} from '../../core/dialer.ts'

const ids = (n: number): string[] =>
  Array.from({ length: n }, (_, i) => `${((i * 7919) % 99_991).toString(36).padStart(4, 'y')}${i}`)

const input = (more: Partial<DialInput>): DialInput => ({
  self: 'me',
  now: 10_000,
  members: new Map(),
  strangers: new Set(),
  wanted: new Set(),
  links: new Set(),
  dials: new Map(),
  ...more
})

const dead = { alive: false, degree: 0 }
const failed = (attempts: number, nextAt: number): DialState => ({
  attempts,
  nextAt,
  startedAt: null
})

test('dialer - in a small mesh every member without a link is dialled, three at a time', (t) => {
  const members = new Map(ids(6).map((id) => [id, dead]))
  const first = whomToDial(input({ members }))
  t.is(first.dials.length, MAX_DIALS)
  const dials = new Map(
    first.dials.map(({ id }) => [id, { attempts: 0, nextAt: 0, startedAt: 10_000 }])
  )
  t.alike(whomToDial(input({ members, dials })).dials, [], 'the slots are taken')
})

test('dialer - who failed waits 1, 2, 4, then 6 s, and the next is asked for then', (t) => {
  t.alike(
    [1, 2, 3, 4, 5, 50].map((n) => backoffMs(n, true, 0.5)),
    [1, 2, 4, 6, 6, 6].map((s) => s * 1000)
  )
  t.is(backoffMs(50, false, 0.5), 60_000, 'strangers knock by themselves')
  for (const random of [0, 0.999]) {
    const ms = backoffMs(4, true, random)
    t.ok(ms >= 4_800 && ms <= 7_200, 'jitter')
  }
  const members = new Map([['a', dead]])
  const dials = new Map([['a', failed(2, 12_000)]])
  t.alike(whomToDial(input({ members, dials })), { dials: [], wakeAt: 12_000 })
  t.is(whomToDial(input({ members, dials, now: 12_000 })).dials.length, 1)
})

test('dialer - a call comes first, and goes beyond the target', (t) => {
  const all = ids(30)
  const members = new Map(all.map((id) => [id, { alive: true, degree: MAX_LINKS }]))
  const links = new Set(all.slice(0, TARGET_LINKS))
  const wanted = new Set([all[29] as string])
  t.alike(whomToDial(input({ members, links, wanted })).dials[0], { id: all[29], why: 'a call' })
})

test('dialer - who was tried least goes first: many dead members do not hide one that is back', (t) => {
  const all = ids(8)
  const members = new Map(all.map((id) => [id, dead]))
  const dials = new Map(all.map((id, i) => [id, failed(i === 5 ? 0 : 9, 0)]))
  t.is(whomToDial(input({ members, dials })).dials[0]?.id, all[5])
})

test('dialer - who is heard on the LAN is dialled while links are lacking, or held for dead', (t) => {
  t.ok(dialsHeard({ links: TARGET_LINKS - 1, isAlive: true }))
  t.absent(dialsHeard({ links: TARGET_LINKS, isAlive: true }), 'all are heard: no full mesh')
  t.ok(dialsHeard({ links: MAX_LINKS, isAlive: false }), 'it is back')
})

test('dialer - no link in use, young or of the ring is let go', (t) => {
  const all = ids(40)
  const members = new Map(all.map((id) => [id, { alive: true, degree: TARGET_LINKS }]))
  const links = all.slice(0, MAX_LINKS + 1)
  const ring = ringOf({ self: 'me', members, links: new Set(links) })
  const held = links.map((id) => ({ id, calls: 0, idleMs: 100_000, mine: true }))
  const dropped = linkToDrop({ self: 'me', members, links: held })
  t.ok(dropped !== null && !ring.has(dropped))
  t.is(linkToDrop({ self: 'me', members, links: held.slice(1) }), null)
  t.is(linkToDrop({ self: 'me', members, links: held.map((l) => ({ ...l, calls: 1 })) }), null)
  t.is(linkToDrop({ self: 'me', members, links: held.map((l) => ({ ...l, idleMs: 9 })) }), null)
})

test('dialer - up to the most, a link is let go only where both ends have enough others', (t) => {
  const all = ids(40)
  const having = (degree: number): DialInput['members'] =>
    new Map(all.map((id) => [id, { alive: true, degree }]))
  const links = all.slice(0, TARGET_LINKS + 1)
  const held = links.map((id) => ({ id, calls: 0, idleMs: 100_000, mine: true }))
  const drop = (degree: number, of = held): string | null =>
    linkToDrop({ self: 'me', members: having(degree), links: of })
  t.ok(drop(TARGET_LINKS + 2) !== null)
  t.is(drop(TARGET_LINKS + 1), null, 'another of its links may go at this moment')
  t.is(drop(TARGET_LINKS + 2, held.slice(1)), null, 'this end needs it')
})

test('dialer - a mesh that grew node by node comes to few links', (t) => {
  const world = new World(50, 4711)
  world.grow()
  t.ok(world.meanDegree() > MAX_LINKS - 1, 'who was there early has many')
  world.run(60)
  t.is(world.parts(), 1)
  t.ok(world.meanDegree() < TARGET_LINKS + 1.5, `${world.meanDegree()} links a node`)
  const before = world.edges()
  world.run(60)
  t.alike(world.edges(), before, 'and stays as it is')
})

test('dialer - a full node takes a neighbour of the ring, and nobody else', (t) => {
  const all = ids(60)
  const members = new Map(all.map((id) => [id, { alive: true, degree: 8 }]))
  const ring = ringOf({ self: 'me', members, links: new Set() })
  const rest = all.filter((id) => !ring.has(id))
  const links = new Set(rest.slice(0, HARD_LINKS))
  const [neighbour] = ring
  t.ok(takesLink(neighbour as string, { self: 'me', members, links }))
  t.absent(takesLink(rest[HARD_LINKS] as string, { self: 'me', members, links }))
  t.ok(takesLink(rest[0] as string, { self: 'me', members, links }), 'a newer one of the same node')
})

test('dialer - 50 nodes make one connected graph of few links; half of them die, it stays one', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      const world = new World(50, seed)
      world.run(40)
      const whole = world.parts()
      if (whole !== 1) throw new Error(`${whole} parts`)
      if (world.maxDegree() > MAX_LINKS) throw new Error(`${world.maxDegree()} links at one node`)
      world.killHalf()
      world.run(40)
      if (world.parts() !== 1) throw new Error(`${world.parts()} parts after half died`)
      if (world.maxDegree() > MAX_LINKS) throw new Error(`${world.maxDegree()} links after`)
    }),
    { numRuns: 10 }
  )
  t.pass()
})

test('dialer - any two parts find each other again', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 31 }),
      fc.integer({ min: 1, max: 29 }),
      (seed, cut) => {
        const world = new World(30, seed)
        world.run(30)
        world.split(cut)
        world.run(30)
        if (world.parts() !== 2) throw new Error(`${world.parts()} parts while cut`)
        world.split(0)
        world.run(20)
        if (world.parts() !== 1) throw new Error(`${world.parts()} parts after healing`)
      }
    ),
    { numRuns: 10 }
  )
  t.pass()
})

/** Nodes that dial by the decider, in rounds of a second; links come up at once or fail. */
class World {
  readonly all: string[]
  readonly dead = new Set<string>()
  readonly links = new Map<string, Map<string, { since: number; mine: boolean }>>()
  readonly dials = new Map<string, Map<string, DialState>>()
  now = 0
  #cut = 0
  #random: number

  constructor(n: number, seed: number) {
    this.#random = seed || 1
    this.all = Array.from({ length: n }, (_, i) => `${this.random().toString(36)}-${i}`)
    for (const id of this.all) {
      this.links.set(id, new Map())
      this.dials.set(id, new Map())
    }
  }

  random(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0
    return this.#random / 2 ** 32
  }

  run(rounds: number): void {
    for (let i = 0; i < rounds; i++) {
      this.now += 4_000
      for (const id of this.living()) this.#turn(id)
    }
  }

  living = (): string[] => this.all.filter((id) => !this.dead.has(id))

  /** As on a LAN: each newcomer is heard by those that were there, and has room for all of them. */
  grow(): void {
    for (const id of this.all) this.dead.add(id)
    for (const id of this.all) {
      this.dead.delete(id)
      for (const other of this.living().slice(-MAX_LINKS)) {
        if (other === id || this.#of(other).size >= HARD_LINKS) continue
        this.#of(id).set(other, { since: this.now, mine: true })
        this.#of(other).set(id, { since: this.now, mine: false })
      }
      this.run(1)
    }
  }

  meanDegree(): number {
    const living = this.living()
    return living.reduce((sum, id) => sum + this.#of(id).size, 0) / living.length
  }

  edges(): string[] {
    return this.living()
      .flatMap((a) => [...this.#of(a).keys()].filter((b) => a < b).map((b) => `${a} ${b}`))
      .sort()
  }

  killHalf(): void {
    while (this.living().length > this.all.length / 2) {
      this.#kill(this.living()[Math.floor(this.random() * this.living().length)] as string)
    }
  }

  split(cut: number): void {
    this.#cut = cut
    for (const a of this.all)
      for (const b of this.#of(a).keys()) if (!this.#reaches(a, b)) this.#unlink(a, b)
  }

  parts(): number {
    const left = new Set(this.living())
    let parts = 0
    for (const id of left) {
      parts++
      for (const seen of this.#part(id)) left.delete(seen)
    }
    return parts
  }

  maxDegree = (): number => Math.max(...this.living().map((id) => this.#of(id).size))

  #turn(self: string): void {
    const part = this.#part(self)
    const members = new Map(
      this.all
        .filter((id) => id !== self)
        .map((id) => [id, { alive: part.has(id), degree: this.#of(id).size }])
    )
    const links = new Set(this.#of(self).keys())
    const dials = this.dials.get(self) as Map<string, DialState>
    const base = { self, members, links }
    for (const { id } of whomToDial({
      ...base,
      now: this.now,
      strangers: new Set(),
      wanted: new Set(),
      dials
    }).dials) {
      const attempts = (dials.get(id)?.attempts ?? 0) + 1
      const theirs = {
        self: id,
        members: new Map([...members, [self, { alive: true, degree: 0 }]]),
        links: new Set(this.#of(id).keys())
      }
      theirs.members.delete(id)
      if (!this.#reaches(self, id) || !takesLink(self, theirs)) {
        const nextAt = this.now + backoffMs(attempts, true, this.random())
        dials.set(id, { attempts, nextAt, startedAt: null })
        continue
      }
      dials.delete(id)
      this.#of(self).set(id, { since: this.now, mine: true })
      this.#of(id).set(self, { since: this.now, mine: false })
    }
    const held = [...this.#of(self)].map(([id, { since, mine }]) => ({
      id,
      calls: 0,
      idleMs: this.now - since,
      mine
    }))
    const drop = linkToDrop({ self, members, links: held })
    if (drop !== null) this.#unlink(self, drop)
  }

  #reaches(a: string, b: string): boolean {
    if (this.dead.has(a) || this.dead.has(b)) return false
    return this.all.indexOf(a) < this.#cut === this.all.indexOf(b) < this.#cut
  }

  #part(id: string): Set<string> {
    const seen = new Set([id])
    for (const at of seen) for (const next of this.#of(at).keys()) seen.add(next)
    return seen
  }

  #of = (id: string): Map<string, { since: number; mine: boolean }> =>
    this.links.get(id) as Map<string, { since: number; mine: boolean }>

  #kill(id: string): void {
    this.dead.add(id)
    for (const peer of [...this.#of(id).keys()]) this.#unlink(id, peer)
  }

  #unlink(a: string, b: string): void {
    this.#of(a).delete(b)
    this.#of(b).delete(a)
  }
}
