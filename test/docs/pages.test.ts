/** The pages people read name files, scripts and verbs that are there. */
import test from 'brittle'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { VERB_NAMES } from '../../apps/cli/run.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const PAGES = ['README.md', 'HACKING.md', 'GLOSSARY.md']
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')
const manifest = JSON.parse(read('package.json')) as {
  scripts: Record<string, string>
  files: string[]
  dependencies: Record<string, string>
}

for (const page of PAGES) {
  test(`pages - ${page} names only files that are there`, (t) => {
    const text = read(page)
    const named = [
      ...text.matchAll(/\b(?:core|roles|apps|bench|docs|test)\/[\w./-]+\w/g),
      ...[...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link = '']) => [link])
    ].map(([path = '']) => path)
    // `core/state/NOUN.ts` stands for any noun.
    const missing = named.filter(
      (path) => !/[A-Z]{4}\.ts/.test(path) && !existsSync(join(ROOT, path))
    )
    t.alike([...new Set(missing)], [])
  })

  test(`pages - ${page} names only scripts that are there`, (t) => {
    const named = [...read(page).matchAll(/npm run ([a-z]+)/g)].map(([, script = '']) => script)
    t.alike(
      named.filter((script) => manifest.scripts[script] === undefined),
      []
    )
  })
}

test('pages - the README has every verb', (t) => {
  t.ok(VERB_NAMES.length > 20)
  const readme = read('README.md')
  for (const verb of VERB_NAMES) {
    const named = [
      `| \`brume ${verb} `,
      `| \`brume ${verb}\``,
      `, \`brume ${verb}\``,
      `, \`brume ${verb} `
    ]
    t.ok(
      named.some((text) => readme.includes(text)),
      verb
    )
  }
})

test('pages - HACKING.md says why each dependency is here', (t) => {
  const page = read('HACKING.md')
  for (const name of Object.keys(manifest.dependencies)) t.ok(page.includes(`\`${name}\``), name)
})

test('pages - what is published is there', (t) => {
  for (const path of manifest.files) t.ok(path === 'dist' || existsSync(join(ROOT, path)), path)
  t.ok(manifest.files.some((path) => 'apps/examples/hello/app.yaml'.startsWith(path)))
})
