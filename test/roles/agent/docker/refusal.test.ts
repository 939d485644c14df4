import test from 'brittle'
import { brumeErrorOf } from '../../../../roles/agent/docker/refusal.ts'

const said: [sentence: string, code: string, names: string][] = [
  [
    'driver failed programming external connectivity on endpoint web (d1c): Bind for 0.0.0.0:8080 failed: port is already allocated',
    'PORT_IN_USE',
    '8080'
  ],
  [
    'driver failed programming external connectivity on endpoint web (d1c): Error starting userland proxy: listen tcp4 0.0.0.0:81: bind: address already in use',
    'PORT_IN_USE',
    '81'
  ],
  [
    'failed to set up container networking: failed to bind host port 0.0.0.0:8080/tcp: address already in use',
    'PORT_IN_USE',
    '8080'
  ],
  ['listen tcp [::]:443: bind: address already in use', 'PORT_IN_USE', '443'],
  [
    'OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "nope": executable file not found in $PATH: unknown',
    'COMMAND_NOT_FOUND',
    'nope'
  ],
  [
    'failed to create task for container: OCI runtime create failed: runc create failed: unable to start container process: exec: "/app/run": stat /app/run: no such file or directory: unknown',
    'COMMAND_NOT_FOUND',
    '/app/run'
  ],
  [
    'error gathering device information while adding custom device "/dev/ttyUSB0": no such file or directory',
    'DEVICE_MISSING',
    '/dev/ttyUSB0'
  ],
  ['No command specified', 'COMMAND_NOT_FOUND', 'command'],
  ['driver failed programming external connectivity: iptables failed', 'ENGINE_FAILED', 'iptables']
]

test("refusal - Docker's sentences become codes, and name what is wrong", async (t) => {
  for (const [sentence, code, names] of said) {
    const refusal = Object.assign(new Error(`(HTTP code 500) server error - ${sentence} `), {
      statusCode: 500,
      json: { message: sentence }
    })
    const error = await brumeErrorOf(refusal, 'start web', '/sock')
    t.is(error.code, code, sentence)
    t.ok(error.message.includes(names), error.message)
    t.absent(error.message.includes('HTTP code'))
  }
})
