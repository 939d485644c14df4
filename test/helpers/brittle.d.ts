/** The part of brittle the tests use. */
declare module 'brittle' {
  export interface Assert {
    is<T>(actual: T, expected: T, message?: string): void
    not(actual: unknown, expected: unknown, message?: string): void
    alike<T>(actual: T, expected: T, message?: string): void
    unlike(actual: unknown, expected: unknown, message?: string): void
    ok(value: unknown, message?: string): void
    absent(value: unknown, message?: string): void
    pass(message?: string): void
    fail(message?: string): void
    exception(fn: () => unknown, expected?: RegExp | (new () => Error), message?: string): unknown
    execution(fn: () => unknown, message?: string): unknown
    plan(count: number): void
    teardown(fn: () => unknown, options?: { order?: number; force?: boolean }): void
    timeout(ms: number): void
    comment(message: string): void
    end(): void
    /** One part of a test; resolves when it is over. */
    test(name: string, body: (t: Assert) => unknown): Promise<boolean>
    tmp(): Promise<string>
  }
  export interface Options {
    timeout?: number
    skip?: boolean
    solo?: boolean
  }
  type Body = (t: Assert) => unknown
  interface Test {
    (name: string, body: Body): unknown
    (name: string, options: Options, body: Body): unknown
    skip: Test
    solo: Test
  }
  const test: Test
  export default test
  export { test }
}
