/**
 * Programs nobody here wrote: how each is served on one machine, and what its own clients make of it
 * at the far end of a tunnel.
 */
import { createHash } from 'node:crypto'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Host } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'

export interface Program {
  name: string
  /** Where it listens. */
  port: number
  /** TCP where it is not said. */
  protocol?: 'udp'
  /** Debian's package, where the first of `needs` is not there. */
  packaged: string
  /** Programs of this machine. */
  needs: string[]
  serve(on: Host): Promise<void>
  /** Uses it at HOST:PORT; gives figures. @throws where anything is not as it was served */
  use(shell: Shell, host: string, port: number, served: Host): Promise<Record<string, number>>
}

/** Runs a line of shell where the clients are. */
export type Shell = (line: string) => Promise<{ code: number | null; out: string; ms: number }>

const POSTGRES = '$(ls -d /usr/lib/postgresql/*/bin | tail -1)'
const MIB = 2 ** 20

export const PROGRAMS: Program[] = [
  {
    name: 'postgres',
    port: 5_432,
    packaged: 'postgresql',
    needs: ['pgbench', 'psql', 'setpriv'],
    async serve(on) {
      const dir = join(on.dir, 'postgres')
      const as = 'setpriv --reuid=postgres --regid=postgres --clear-groups'
      const made = `install -d -o postgres ${dir} && ${as} ${POSTGRES}/initdb -A trust -D ${dir}/data`
      await must(on, made)
      await writeFile(join(on.dir, 'pg_hba.conf'), 'host all all all trust\n')
      const told = `-c hba_file=${on.dir}/pg_hba.conf -c unix_socket_directories= -c fsync=off`
      start(on, `exec ${as} ${POSTGRES}/postgres -D ${dir}/data -h 0.0.0.0 ${told}`)
    },
    async use(shell, host, port) {
      const at = `-h ${host} -p ${port} -U postgres postgres`
      await good(shell, `pgbench -q -i -s 2 ${at} 2>&1`)
      const { out } = await good(shell, `pgbench -c 8 -T 5 ${at} 2>&1`)
      equal('failed transactions', figure(/number of failed transactions: (\d+)/, out), 0)
      const rows = Array.from({ length: 200_000 }, (_, i) => `${i + 1}\n`).join('')
      const copy = 'copy (select * from generate_series(1, 200000)) to stdout'
      const copied = await good(shell, `psql -qAt -c '${copy}' ${at} | sha256sum`)
      equal('what was copied', copied.out.slice(0, 64), sha256(rows))
      return { tps: Math.round(figure(/tps = ([\d.]+)/, out)) }
    }
  },
  {
    name: 'redis',
    port: 6_379,
    packaged: 'redis',
    needs: ['redis-server', 'redis-benchmark', 'redis-cli'],
    async serve(on) {
      start(on, "exec redis-server --bind 0.0.0.0 --protected-mode no --save '' --dir /tmp")
    },
    async use(shell, host, port) {
      const at = `-h ${host} -p ${port}`
      const bench = `redis-benchmark ${at} -t set,get -n 20000 -c 50 --csv`
      const { out } = await good(shell, bench)
      const piped = await good(shell, `${bench} -P 16 -d 4096`)
      const blob = 'x'.repeat(8 * MIB)
      await good(
        shell,
        `head -c ${blob.length} /dev/zero | tr '\\0' x | redis-cli ${at} -x set blob`
      )
      const got = await good(shell, `redis-cli ${at} --raw get blob | head -c -1 | sha256sum`)
      equal('a value of 8 MiB', got.out.slice(0, 64), sha256(blob))
      const perS = (text: string): number => Math.round(figure(/"GET","([\d.]+)"/, text))
      return { getsPerS: perS(out), pipedPerS: perS(piped.out) }
    }
  },
  {
    name: 'iperf3',
    port: 5_201,
    packaged: 'iperf3',
    needs: ['iperf3'],
    async serve(on) {
      start(on, 'exec iperf3 -s')
    },
    async use(shell, host, port) {
      const mbit = async (more: string): Promise<number> => {
        const { out } = await good(shell, `iperf3 -J -c ${host} -p ${port} -t 4 ${more}`)
        const { end, error } = JSON.parse(out) as IperfReport
        if (error !== undefined) throw new Error(error)
        const bits = end.sum_received?.bits_per_second
        if (bits === undefined) throw new Error(`iperf3 ${more} ended with ${out.slice(-1000)}`)
        return Math.round(bits / 1e6)
      }
      return {
        up: await mbit(''),
        down: await mbit('-R'),
        parallel: await mbit('-P 8'),
        both: await mbit('--bidir -P 4')
      }
    }
  },
  {
    name: 'http',
    port: 8_080,
    packaged: 'curl',
    needs: ['curl'],
    async serve(on) {
      await writeFile(join(on.dir, 'http.cjs'), HTTP_SERVER)
      start(on, `exec node ${on.dir}/http.cjs`)
    },
    async use(shell, host, port) {
      const at = `http://${host}:${port}`
      const size = 100 * MIB
      const zeros = createHash('sha256').update(Buffer.alloc(size)).digest('hex')
      const down = await good(shell, `curl -sSf ${at}/bytes/${size} | sha256sum`)
      equal('100 MiB down', down.out.slice(0, 64), zeros)
      const up = await good(shell, `head -c ${size} /dev/zero | curl -sSf -T - ${at}/sha256`)
      equal('100 MiB up, chunked', up.out, zeros)
      const slow = await good(shell, `curl -sSfN ${at}/chunks/20`)
      equal('chunks', slow.out, Array.from({ length: 20 }, (_, i) => `${i}\n`).join(''))
      const many = await good(
        shell,
        `seq 200 | xargs -P 20 -I{} curl -sSf ${at}/bytes/1000 | wc -c`
      )
      equal('200 requests, 20 at a time', Number(many.out), 200_000)
      const rate = (ms: number): number => Math.round((size * 8) / 1e3 / ms)
      return { downMbit: rate(down.ms), upMbit: rate(up.ms) }
    }
  },
  {
    name: 'dns',
    port: 5_300,
    protocol: 'udp',
    packaged: 'dnsmasq-base bind9-dnsutils',
    needs: ['dnsmasq', 'dig'],
    async serve(on) {
      const quiet = '--conf-file=/dev/null --no-resolv --no-hosts --pid-file= --user=root'
      const long = Array.from({ length: 60 }, (_, i) => `--host-record=many.test,10.9.8.${i}`)
      const told = `${quiet} --address=/plc.test/10.9.8.7 ${long.join(' ')}`
      start(on, `exec dnsmasq --keep-in-foreground --port=5300 ${told}`)
    },
    async use(shell, host, port) {
      const at = `@${host} -p ${port} +tries=1 +time=5`
      const one = await good(shell, `dig ${at} +short plc.test`)
      equal('an address', one.out.trim(), '10.9.8.7')
      const many = await good(shell, `dig ${at} +short +bufsize=4096 +ignore many.test | wc -l`)
      equal('an answer of 60 addresses', Number(many.out), 60)
      const asked = `seq 200 | xargs -P 10 -I{} dig ${at} +short x{}.plc.test | sort -u`
      const all = await good(shell, asked)
      equal('200 questions', all.out.trim(), '10.9.8.7')
      return { msEach: Math.round(all.ms / 20) / 10 }
    }
  },
  {
    name: 'ssh',
    port: 2_222,
    packaged: 'openssh-server',
    needs: ['/usr/sbin/sshd', 'ssh', 'ssh-keygen'],
    async serve(on) {
      const [hostKey, key] = [join(on.dir, 'ssh_host_key'), join(on.dir, 'ssh_key')]
      for (const each of [hostKey, key]) {
        await must(on, `ssh-keygen -q -t ed25519 -N '' -f ${each}`)
      }
      await chmod(key, 0o600)
      await writeFile(join(on.dir, 'sshd_config'), sshdConfig(hostKey, key))
      // It wants a directory under /run, which is not ours to make.
      const run = 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd'
      const sshd = `exec /usr/sbin/sshd -D -e -f ${on.dir}/sshd_config`
      start(on, `exec unshare --mount sh -c '${run} && ${sshd}'`)
    },
    async use(shell, host, port, served) {
      const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR']
      const ssh = `ssh -F none -i ${served.dir}/ssh_key ${options.map((o) => `-o ${o}`).join(' ')}`
      const to = `-p ${port} root@${host}`
      const { out } = await good(shell, `${ssh} ${to} seq 1 300000 | sha256sum`)
      const numbers = Array.from({ length: 300_000 }, (_, i) => `${i + 1}\n`).join('')
      equal('what a command printed', out.slice(0, 64), sha256(numbers))
      const typed = await good(
        shell,
        `(sleep 1; echo 'echo $((6 * 7)) is it'; sleep 1; echo exit) | ${ssh} -tt ${to} 2>&1`
      )
      if (!typed.out.includes('42 is it')) throw new Error(`a session typed ${typed.out}`)
      const size = 50 * MIB
      const sent = await good(shell, `head -c ${size} /dev/zero | ${ssh} ${to} 'wc -c'`)
      equal('bytes sent', Number(sent.out), size)
      return { sentMbit: Math.round((size * 8) / 1e3 / sent.ms) }
    }
  }
]

interface IperfReport {
  end: { sum_received?: { bits_per_second: number } }
  error?: string
}

const HTTP_SERVER = `
const http = require('node:http')
const { createHash } = require('node:crypto')
http.createServer(async (request, response) => {
  const [, what, n] = request.url.split('/')
  if (what === 'bytes') {
    const piece = Buffer.alloc(65536)
    for (let left = Number(n); left > 0; left -= piece.length) {
      const more = left < piece.length ? piece.subarray(0, left) : piece
      if (!response.write(more)) await new Promise((resolve) => response.once('drain', resolve))
    }
    response.end()
  } else if (what === 'chunks') {
    for (let i = 0; i < Number(n); i++) {
      response.write(i + '\\n')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    response.end()
  } else {
    const hash = createHash('sha256')
    request.on('data', (data) => hash.update(data)).on('end', () => response.end(hash.digest('hex')))
  }
}).listen(8080)
`

const sshdConfig = (hostKey: string, key: string): string =>
  [
    'Port 2222',
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${key}.pub`,
    'PidFile none',
    'StrictModes no',
    'UsePAM no',
    'PermitRootLogin prohibit-password'
  ].join('\n')

function start(on: Host, line: string): void {
  on.spawn('sh', ['-c', line], { stdio: 'ignore' })
}

async function must(on: Host, line: string): Promise<void> {
  const { code, stderr } = await on.exec('sh', ['-c', line])
  if (code !== 0) throw new Error(`${line}: ${stderr.trim()}`)
}

/** Until somebody listens there. */
export const serving = (on: Host, port: number): Promise<void> =>
  waitUntil(async () => {
    const { stdout } = await on.exec('ss', ['-Hltun', `sport = :${port}`])
    return stdout.trim() !== ''
  })

async function good(shell: Shell, line: string): Promise<{ out: string; ms: number }> {
  const { code, out, ms } = await shell(line)
  if (code !== 0) throw new Error(`${line.slice(0, 120)} ended with ${code}: ${out.slice(-300)}`)
  return { out, ms }
}

function equal<T extends string | number>(what: string, got: T, expected: T): void {
  if (got !== expected) throw new Error(`${what}: expected ${expected}, got ${got}`)
}

function figure(pattern: RegExp, text: string): number {
  const found = pattern.exec(text)?.[1]
  if (found === undefined) throw new Error(`no ${pattern.source} in ${text.slice(-300)}`)
  return Number(found)
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
