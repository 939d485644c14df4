// Sends things to a microservice one by one and in order, and keeps those it cannot send. Of more than
// `limit` the oldest are given up.
import { setTimeout as sleep } from 'node:timers/promises'

const ANSWER_MS = 2_000
const RETRY_MS = 500

export class Outbox {
  #url
  #limit
  #onAnswer
  #kept = []
  #sending = false

  constructor(url, { limit, onAnswer = () => {} }) {
    this.#url = url
    this.#limit = limit
    this.#onAnswer = onAnswer
  }

  /** How many are not sent yet. */
  get size() {
    return this.#kept.length
  }

  put(thing) {
    this.#kept.push(thing)
    if (this.#kept.length > this.#limit) this.#kept.shift()
    if (!this.#sending) void this.#send()
  }

  async #send() {
    this.#sending = true
    while (this.#kept.length > 0) {
      const [first] = this.#kept
      try {
        const answer = await this.#post(first)
        // It may have been given up on its way.
        if (this.#kept[0] === first) this.#kept.shift()
        this.#onAnswer(answer)
      } catch {
        await sleep(RETRY_MS)
      }
    }
    this.#sending = false
  }

  async #post(thing) {
    const response = await fetch(this.#url, {
      method: 'POST',
      // The next one asks again who serves.
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify(thing),
      signal: AbortSignal.timeout(ANSWER_MS)
    })
    if (!response.ok) throw new Error(`it answered ${response.status}`)
    return await response.json()
  }
}
