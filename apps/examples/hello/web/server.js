// Answers every request with a greeting, the replica that gave it, and its host.
import http from 'node:http'
import os from 'node:os'

const port = Number(process.env.PORT ?? 80)
const greeting = process.env.GREETING ?? 'hello'
const replica = process.env.BRUME_SLOT ?? '?'

const server = http.createServer((request, response) => {
  console.log(`${request.method} ${request.url}`)
  response.setHeader('content-type', 'text/plain; charset=utf-8')
  response.end(`${greeting} from replica ${replica} on ${os.hostname()}\n`)
})

// The first process of a container ignores SIGTERM unless it listens for it.
process.once('SIGTERM', () => process.exit(0))
process.once('SIGINT', () => process.exit(0))

server.on('error', (error) => {
  console.error(`cannot listen on port ${port}: ${error.message}`)
  process.exit(1)
})
server.listen(port, () =>
  console.log(`replica ${replica} listens on port ${server.address().port}`)
)
