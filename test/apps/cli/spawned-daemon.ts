/**
 * What a test starts instead of `brume daemon`: MODE `serves` answers /init (refusing the name
 * `bad`, never answering `slow`) and /stop; `fails` says why as the CLI does; `crashes` does not.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serve, withProgress } from '../../../apps/daemon/socket.ts'
import { socketPath } from '../../../apps/paths.ts'
import { BrumeError } from '../../../core/errors.ts'
import { silent } from '../../../core/logger.ts'

const dir = process.argv[process.argv.indexOf('--data') + 1] ?? ''
const mode = process.env.MODE

if (mode === 'fails') {
  const error = { code: 'STORE_LOCKED', message: 'no store', next: 'look', exitCode: 1 }
  console.error('brume: no store')
  console.log(JSON.stringify({ error }))
  process.exit(1)
}
if (mode === 'crashes') {
  console.error('Segmentation fault')
  process.exit(134)
}

writeFileSync(join(dir, 'identity'), 'made by the daemon')
const server = await serve(
  socketPath(dir),
  [
    {
      method: 'GET',
      path: '/status',
      handle: async () => ({ pid: process.pid, argv: process.argv })
    },
    {
      method: 'POST',
      path: '/init',
      handle: async ({ json, signal }) => {
        const { name } = await json<{ name: string }>()
        return withProgress(async (report) => {
          report('starting a mesh')
          if (name === 'bad') throw new BrumeError('NAME_TAKEN', 'bad is taken')
          if (name === 'slow')
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
          const mesh = 'm'.repeat(52)
          return { name, id: 'i'.repeat(52), mesh, role: 'admin', key: 'brume-k', warnings: ['w'] }
        })
      }
    },
    {
      method: 'POST',
      path: '/stop',
      handle: async () => {
        setImmediate(() => void server.close())
        return { stopped: true, pid: process.pid }
      }
    }
  ],
  { mode: 0o600, log: silent }
)
