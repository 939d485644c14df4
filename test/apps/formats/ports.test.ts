import test from 'brittle'
import type { Port } from '../../../core/state/microservices.ts'
import { readPort, readPorts } from '../../../apps/formats/ports.ts'

test('ports - every spelling', (t) => {
  const cases: [unknown, number, number | null, Port['protocol']][] = [
    ['80', 80, null, 'tcp'],
    [80, 80, null, 'tcp'],
    ['8080:80', 80, 8080, 'tcp'],
    ['8080:80/udp', 80, 8080, 'udp'],
    ['53/UDP', 53, null, 'udp'],
    [{ external: 8080, internal: 80 }, 80, 8080, 'tcp'],
    [{ external: '8080', internal: '80', protocol: 'udp' }, 80, 8080, 'udp'],
    [{ internal: 80 }, 80, null, 'tcp']
  ]
  for (const [given, container, host, protocol] of cases) {
    t.alike(readPort(given), { container, host, protocol }, JSON.stringify(given))
  }
})

test('ports - what is none says what was expected', (t) => {
  const cases: [unknown, RegExp][] = [
    ['80:', /: expected HOST:CONTAINER, got "80:"$/],
    [':80', /: expected HOST:CONTAINER, got ":80"$/],
    ['', /expected CONTAINER or HOST:CONTAINER, got ""/],
    [null, /expected CONTAINER or HOST:CONTAINER, got nothing/],
    ['1:2:3', /expected CONTAINER or HOST:CONTAINER/],
    ['127.0.0.1:80:80', /HOST:CONTAINER/],
    ['web', /from 1 to 65535, got "web"/],
    ['0:80', /from 1 to 65535, got "0:80"/],
    [70000, /from 1 to 65535, got 70000/],
    [80.5, /from 1 to 65535, got 80.5/],
    ['80/sctp', /tcp or udp, got "sctp"/],
    ['8000-8010', /got the range "8000-8010": list each port/],
    [{ external: 1 }, /from 1 to 65535, got nothing/],
    [{ internal: 1, extrnal: 2 }, /unknown key `extrnal`, did you mean `external`\?/]
  ]
  for (const [given, message] of cases) t.exception(() => readPort(given), message)
})

test('ports - none twice in a microservice, tcp and udp apart', (t) => {
  t.is(readPorts(['53:53', '53:53/udp']).length, 2)
  t.exception(() => readPorts(['80', '8080:80']), /container port 80\/tcp is here twice/)
  t.exception(() => readPorts(['8080:80', '8080:81']), /host port 8080\/tcp is here twice/)
  t.exception(() => readPorts('80'), /expected a list of ports/)
  const many = Array.from({ length: 129 }, (_, i) => i + 1)
  t.exception(() => readPorts(many), /at most 128 ports/)
})
