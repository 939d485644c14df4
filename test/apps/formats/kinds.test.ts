import test from 'brittle'
import { refusedLines } from './refused.ts'

test('kinds - what is no application says what it is', (t) => {
  const cases: [string, RegExp][] = [
    ['', /^app.yaml:1: the file is empty: expected `apiVersion: brume\/v1`/],
    ['# nothing\n', /^app.yaml:1: the file is empty/],
    ['hello', /^app.yaml:1: expected a map with .*, got "hello"$/],
    ['- a\n', /got a list$/],
    ['services: { web: { image: x } }\n', /looks like a Compose file, which is not done yet/],
    ['kind: Application\n', /apiVersion: missing, expected brume\/v1, or iofog.org\/v3/],
    ['a: 1\napiVersion: apps/v1\n', /^app.yaml:2: apiVersion: .*got "apps\/v1"$/],
    ['apiVersion: 1\n', /apiVersion: .*got 1$/],
    ['apiVersion: brume/v1\n', /kind: missing, expected Application or Service$/],
    [
      'apiVersion: brume/v1\nkind: application\n',
      /^app.yaml:2: kind: expected Application or Service, got "application"$/
    ],
    [
      'apiVersion: brume/v1\nkind: Registry\n',
      /kind: expected Application or Service, got "Registry"$/
    ],
    [
      'apiVersion: iofog.org/v3\nkind: Registry\n',
      /kind: expected Application, got Registry, a kind of ioFog/
    ],
    [
      'apiVersion: iofog.org/v1\nkind: Microservice\n',
      /not deployed alone: put it into spec.microservices/
    ],
    ['apiVersion: iofog.org/v4\nkind: Application\n', /apiVersion: .*got "iofog.org\/v4"$/],
    [
      'apiVersion: brume/v1\nkind: Application\nmetadata: { name: a }\nspec: { microservices: [] }\n',
      /spec.microservices: expected at least one microservice$/
    ]
  ]
  for (const [text, message] of cases) {
    const [line] = refusedLines(text)
    t.ok(message.test(line ?? ''), `${JSON.stringify(text)}: ${line}`)
  }
})
