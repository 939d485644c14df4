/** What a lab, a fleet or a test's helper gives back what it took with. */
export interface Teardown {
  teardown: (fn: () => unknown) => void
}

/** Runs with something to register ends at; they are called after it, the last first. */
export async function withTeardown<T>(run: (t: Teardown) => Promise<T>): Promise<T> {
  const ends: (() => unknown)[] = []
  try {
    return await run({ teardown: (fn) => void ends.push(fn) })
  } finally {
    for (const end of ends.reverse()) await end()
  }
}
