import test from 'brittle'
import fc from 'fast-check'
import type { Replica, Service } from '../../../roles/connector/directory.ts'
import { endsOf, readName, type Named, type Reading } from '../../../roles/connector/names.ts'

/** Names that mean something else where they stand at another place, and some that do not. */
const WORLD = new Set([
  ...['app/web', 'app/app', 'app/0', 'app/7', 'app/all', 'app/nearest', 'app/brume'],
  ...['bills/api', 'bills/web', 'com/web', 'web/db', 'web/all', 'all/web', 'brume/web', '0/web']
])

const has = (application: string, microservice: string): boolean =>
  WORLD.has(`${application}/${microservice}`)

const named = (key: string, which: Named['which'] = 'any'): Named => {
  const [application = '', microservice = ''] = key.split('/')
  return { application, microservice, which }
}

const LONG = `${'a'.repeat(63)}.`.repeat(4).slice(0, 253)

test('names - each form of a name, asked for from application `app`', (t) => {
  const rows: [string, Reading][] = [
    ['web', named('app/web')],
    ['WeB', named('app/web')],
    ['web.', named('app/web')],
    ['0.web', named('app/web', 0)],
    ['99999.web', named('app/web', 99_999)],
    ['nearest.web', named('app/web', 'nearest')],
    ['all.web.app', named('app/web', 'all')],
    ['api.bills', named('bills/api')],
    ['api.bills.brume', named('bills/api')],
    ['3.API.Bills.Brume.', named('bills/api', 3)],
    ['nearest.api.bills', named('bills/api', 'nearest')],
    // Nobody else is asked for what ends in `brume`.
    ['web.brume', 'nobody'],
    ['nothing.app.brume', 'nobody'],
    ['5.nothing.app.brume', 'nobody'],
    ['api', 'elsewhere'],
    ['nothing', 'elsewhere'],
    ['nothing.app', 'elsewhere'],
    ['example.org', 'elsewhere'],
    ['www.example.org', 'elsewhere']
  ]
  for (const [name, reading] of rows) t.alike(readName(name, 'app', has), reading, name)
})

test('names - what can be read in two ways is the one without a slot, `nearest` or `all`', (t) => {
  const rows: [string, string, Reading][] = [
    ['0', 'app', named('app/0')],
    ['0.app', 'app', named('app/0')],
    ['0.0', 'app', named('app/0', 0)],
    ['0.app.app', 'app', named('app/app', 0)],
    ['1.app', 'app', named('app/app', 1)],
    ['all', 'app', named('app/all')],
    ['all.all', 'app', named('app/all', 'all')],
    ['all.nearest', 'app', named('app/nearest', 'all')],
    ['nearest.nearest.app.brume', 'app', named('app/nearest', 'nearest')],
    // `all` of application `web` or all of microservice `web`; microservice `db` of application `web`.
    ['all.web', 'app', named('web/all')],
    ['db.web', 'app', named('web/db')],
    ['web.0', 'app', named('0/web')],
    ['web.all', 'bills', named('all/web')],
    // A microservice called `brume` has no short name; an application called `brume` is told whole.
    ['brume', 'app', 'nobody'],
    ['brume.app', 'app', named('app/brume')],
    ['2.brume.app.brume', 'app', named('app/brume', 2)],
    ['web', 'brume', named('brume/web')],
    ['web.brume', 'brume', 'nobody'],
    ['web.brume.brume', 'app', named('brume/web')],
    ['brume.brume', 'app', 'nobody'],
    // A name of the internet is hidden only where there is such a microservice.
    ['web.com', 'app', named('com/web')],
    ['0.web.com', 'app', named('com/web', 0)],
    ['api.com', 'app', 'elsewhere'],
    ['www.web.com', 'app', 'elsewhere'],
    ['web', 'nowhere', 'elsewhere']
  ]
  for (const [name, from, reading] of rows) {
    t.alike(readName(name, from, has), reading, `${name} from ${from}`)
  }
})

test('names - what is no name of ours is nobody with `brume` at its end, else of others', (t) => {
  for (const name of [
    ...['', '.', '..', '.web', 'web..', 'web..app', '..web.app', 'a.0.web.app', '0.0.web.app'],
    ...['00.web', '01.web', '100000.web', '-1.web', '+1.web', '1e3.web', '0x1.web', ' 1.web'],
    ...['any.web', 'ALL .web', 'web ', 'web\n', 'web\0', 'web/0', 'app/web', 'wéb', '*', '_web'],
    ...[
      '0.',
      LONG,
      `${LONG.slice(0, 250)}.web`,
      'web.'.repeat(60),
      '.'.repeat(255),
      '0.'.repeat(99)
    ]
  ]) {
    // `0.` is microservice `0`.
    const reading = name === '0.' ? named('app/0') : 'elsewhere'
    t.alike(readName(name, 'app', has), reading, JSON.stringify(name))
  }
  for (const name of [
    'brume',
    '.brume',
    '..brume.',
    'BRUME',
    `${LONG.slice(0, 240)}.brume`,
    '0.brume'
  ]) {
    t.is(readName(name, 'app', has), 'nobody', JSON.stringify(name))
  }
  t.is(
    readName('web.brume.', 'app', () => true),
    'nobody',
    'whatever there is'
  )
  t.is(
    readName('a.b.c.d', 'app', () => true),
    'elsewhere',
    'too many labels'
  )
  t.is(
    readName('a.web', 'app', (_, one) => one === 'web'),
    'elsewhere',
    '`a` is no slot'
  )
})

const label = fc.oneof(
  fc.constantFrom('web', 'app', '0', '7', 'all', 'nearest', 'brume', 'com', 'A', ''),
  fc.string({ maxLength: 5 })
)
const key = fc.constantFrom(...WORLD)
const which = fc.constantFrom<Named['which']>('any', 'nearest', 'all', 0, 7, 99_999)

test('names - only what there is is in a reading, and what is told whole is what it says', (t) => {
  fc.assert(
    fc.property(
      fc.array(label, { maxLength: 5 }),
      fc.constantFrom('app', 'web', '0'),
      (labels, from) => {
        const reading = readName(labels.join('.'), from, has)
        if (typeof reading === 'string') return true
        return has(reading.application, reading.microservice)
      }
    )
  )
  fc.assert(
    fc.property(key, which, fc.constantFrom('app', 'bills', 'x'), (of, one, from) => {
      const [application = '', microservice = ''] = of.split('/')
      const whole = [...(one === 'any' ? [] : [one]), microservice, application, 'brume'].join('.')
      t.alike(readName(whole, from, has), named(of, one), whole)
    })
  )
})

const SELF = 'a'
const replica = fc.record({
  application: fc.constant('app'),
  microservice: fc.constant('web'),
  slot: fc.integer({ min: 0, max: 3 }),
  node: fc.constantFrom('a', 'b', 'c'),
  leaving: fc.boolean()
})
const world = fc.record({
  replicas: fc.array(replica, { maxLength: 5 }),
  // Slots whose containers here have an address.
  addressed: fc.subarray([0, 1, 2, 3]),
  from: fc.constantFrom('app', 'bills'),
  which: fc.constantFrom<Named['which']>('any', 'nearest', 'all', 0, 1, 4)
})
type World = typeof world extends fc.Arbitrary<infer T> ? T : never

const addressOf = (slot: number): string => `10.214.0.${slot + 2}`

/** What is answered, as `a0` for the address of slot 0, `v0` for the virtual one, `v` for any slot. */
function answer({ replicas, addressed, from, which }: World): string[] {
  const service: Service = {
    application: 'app',
    microservice: 'web',
    ports: [],
    allow: [],
    outside: null,
    replicas
  }
  const ends = endsOf({ ...service, which }, service, from, {
    self: SELF,
    addressOf: ({ slot }) => (addressed.includes(slot) ? addressOf(slot) : null)
  })
  return ends.map((end) => {
    if ('address' in end) return `a${Number(end.address.split('.')[3]) - 2}`
    const { application, microservice, slot } = end.virtual
    if (application !== 'app' || microservice !== 'web') throw new Error('another target')
    return `v${slot ?? ''}`
  })
}

/** Those an answer may be about. */
function fitting({ replicas, which }: World): Replica[] {
  const fit = replicas.filter(({ slot }) => typeof which !== 'number' || slot === which)
  const staying = fit.filter(({ leaving }) => !leaving)
  return staying.length > 0 ? staying : fit
}

test('names - an answer is only of who serves; who leaves is in it only where nobody stays', (t) => {
  let answers = 0
  const slotsOf = (replicas: Replica[]): number[] => replicas.map(({ slot }) => slot)
  fc.assert(
    fc.property(world, (given) => {
      const fit = fitting(given)
      const near = slotsOf(fit.filter(({ node }) => node === SELF))
      const told = answer(given)
      answers += told.length
      for (const each of told) {
        const slot = Number(each.slice(1))
        if (each.startsWith('a') && !near.includes(slot)) return false
        if (each.length > 1 && !slotsOf(fit).includes(slot)) return false
      }
      return told.length > 0 === fit.length > 0
    }),
    { numRuns: 500 }
  )
  t.ok(answers > 0, `${answers} ends`)
})

test('names - a container’s own address is only for this node and the asker’s application', (t) => {
  let native = 0
  fc.assert(
    fc.property(world, (given) => {
      const told = answer(given)
      const mine = told.filter((each) => each.startsWith('a'))
      native += mine.length
      if (given.from !== 'app') return mine.length === 0
      const fit = fitting(given)
      return mine.every((each) =>
        fit.some(({ node, slot }) => node === SELF && each === `a${slot}`)
      )
    }),
    { numRuns: 500 }
  )
  t.ok(native > 0, `${native} own addresses`)
})

test('names - with one elsewhere `any` and a slot are one virtual address, `all` is one for each slot', (t) => {
  let mixed = 0
  fc.assert(
    fc.property(world, (given) => {
      const { from, addressed, which } = given
      const fit = fitting(given)
      if (fit.length === 0) return true
      const isNative = ({ node, slot }: Replica): boolean =>
        from === 'app' && node === SELF && addressed.includes(slot)
      const ends = new Set(fit.map((one) => `${isNative(one) ? 'a' : 'v'}${one.slot}`))
      const near = fit.find(isNative)
      if (!fit.every(isNative)) mixed++
      const expected = (): string[] => {
        if (which === 'all') return [...ends]
        if (which === 'nearest') return [near === undefined ? 'v' : `a${near.slot}`]
        if (fit.every(isNative)) return [...ends]
        return [which === 'any' ? 'v' : `v${which}`]
      }
      return answer(given).sort().join() === expected().sort().join()
    }),
    { numRuns: 1_000 }
  )
  t.ok(mixed > 0, `${mixed} worlds with one elsewhere`)
})
