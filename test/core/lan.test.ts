import test from 'brittle'
import fc from 'fast-check'
import { createKeyPair, hash, toId } from '../../core/crypto.ts'
import { Asked, decodeTxt, isOnLan, lanAddresses, lanName } from '../../core/lan.ts'

const id = toId(createKeyPair(hash('test', Buffer.from('lan'))).publicKey)
const said = (...fields: string[]): Buffer[] => fields.map((field) => Buffer.from(field))

const ipv4 = (address: string, netmask = '255.255.255.0') => ({
  address,
  netmask,
  family: 'IPv4' as const,
  internal: address.startsWith('127.')
})

test('lan - the name of a mesh does not tell its topic', (t) => {
  const topic = hash('test', Buffer.from('topic'))
  t.is(lanName(topic).length, 32)
  t.absent(topic.toString('hex').includes(lanName(topic)))
  t.not(lanName(topic), lanName(hash('test', Buffer.from('another'))))
})

test('lan - an answer is read, and nothing that anybody sends is thrown at the caller', (t) => {
  t.alike(decodeTxt(said(`k=${id}`, 'p=49737', 's=ab12')), { id, port: 49737, session: 'ab12' })
  t.is(decodeTxt(said('k=me', 'p=49737', 's=ab12')), null, 'no key')
  t.is(decodeTxt(said(`k=${id}`, 'p=0', 's=ab12')), null, 'no port')
  t.is(decodeTxt(said(`k=${id}`, 'p=70000', 's=ab12')), null)
  t.is(decodeTxt(said(`k=${id}`, 'p=1', `s=${'a'.repeat(100)}`)), null)
  fc.assert(
    fc.property(fc.anything(), (data) => {
      decodeTxt(data)
    })
  )
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes))),
      (data) => {
        t.is(decodeTxt(data), null)
      }
    ),
    { numRuns: 50 }
  )
})

test('lan - addresses of container engines and of loopback are not for others', (t) => {
  const interfaces = {
    lo: [ipv4('127.0.0.1', '255.0.0.0')],
    eth0: [ipv4('192.168.1.7'), { ...ipv4('fe80::1'), family: 'IPv6' as const }],
    wlan0: [ipv4('10.0.3.9')],
    docker0: [ipv4('172.17.0.1', '255.255.0.0')],
    'br-0123456789ab': [ipv4('172.18.0.1', '255.255.0.0')],
    veth12: [ipv4('10.9.9.9')]
  }
  t.alike(lanAddresses(interfaces), ['192.168.1.7', '10.0.3.9'])
})

test('lan - an address is on my LAN if it is private and in a subnet of mine', (t) => {
  const interfaces = { eth0: [ipv4('192.168.1.7')], wan: [ipv4('203.0.113.9')] }
  t.ok(isOnLan('192.168.1.200', interfaces))
  t.absent(isOnLan('192.168.2.200', interfaces))
  t.absent(isOnLan('203.0.113.10', interfaces), 'neighbours on the internet are no LAN')
  for (const bad of ['', 'a.b.c.d', '192.168.1', '192.168.1.256', 'fe80::1']) {
    t.absent(isOnLan(bad, interfaces), bad)
  }
  t.ok(isOnLan('127.0.0.1', { lo: [ipv4('127.0.0.1', '255.0.0.0')] }))
})

test('lan - of many that ask at their intervals few have to, on each interface', (t) => {
  const nodes = Array.from({ length: 50 }, () => new Asked())
  let questions = 0
  for (let second = 0; second < 600; second++) {
    const now = second * 1_000
    // Each at a moment of its own of every minute.
    const asks = nodes.find((node, i) => second % 60 === i && node.isDue('10.0.0.1', 60_000, now))
    if (asks === undefined) continue
    questions++
    for (const node of nodes) node.note('10.0.0.1', now)
  }
  t.ok(questions >= 10 && questions <= 14, `${questions} questions in ten minutes`)
  t.ok(nodes[0]?.isDue('10.0.0.2', 60_000, 600_000), 'nobody asked on the other interface')
})
