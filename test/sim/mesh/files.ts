/**
 * Files of a simulated process: real ones, read and written at once and answered in a later turn, so
 * that no thread of the machine has a say in what happens first. For `worker.ts`, for good.
 */
import fs from 'node:fs'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { dirname } from 'node:path'

type Act = (...args: never[]) => unknown

/** What nodes, their stores and the simulation itself use. */
const PROMISED = ['readFile', 'writeFile', 'rename', 'mkdir', 'rm', 'cp', 'link', 'stat', 'readdir']
const CALLED = ['open', 'close', 'read', 'write', 'fstat', 'stat', 'unlink', 'mkdir']

/** `onSync` is told of every file whose data was brought to the disk. */
export function installFiles(onSync: (path: string) => void): void {
  const sync = fs as unknown as Record<string, Act>
  const promises = fs.promises as unknown as Record<string, Act>
  const called = fs as unknown as Record<string, Act>
  for (const name of PROMISED) promises[name] = promised(sync[`${name}Sync`] as Act)
  promises['open'] = promised((path: string, flags: string, mode: number) =>
    handleOf(fs.openSync(path, flags, mode), () => onSync(path))
  )
  for (const name of CALLED) called[name] = withCallback(sync[`${name}Sync`] as Act)
  syncBuiltinESMExports()
  installAttributes()
}

/** The lock of a store marks its file by an attribute. */
function installAttributes(): void {
  const store = createRequire(createRequire(import.meta.url).resolve('hypercore-storage'))
  const device = createRequire(store.resolve('device-file'))
  const lock = createRequire(device.resolve('fd-lock'))
  const extensions = lock(dirname(lock.resolve('fs-native-extensions'))) as Record<string, Act>
  for (const name of ['setAttr', 'getAttr']) {
    extensions[name] = promised(extensions[`${name}Sync`] as Act)
  }
}

const promised =
  (act: Act) =>
  async (...args: never[]): Promise<unknown> => {
    await new Promise((resolve) => setImmediate(resolve))
    return act(...args)
  }

const withCallback =
  (act: Act) =>
  (...args: unknown[]): void => {
    const done = args.pop() as (error: unknown, ...results: unknown[]) => void
    setImmediate(() => {
      let result: unknown
      try {
        result = act(...(args as never[]))
      } catch (error) {
        return done(error)
      }
      done(null, result)
    })
  }

const handleOf = (fd: number, onSync: () => void): object => ({
  fd,
  writeFile: promised((data: Buffer | string) => fs.writeFileSync(fd, data)),
  write: promised((data: Buffer) => ({ bytesWritten: fs.writeSync(fd, data) })),
  sync: promised(() => fs.fsyncSync(fd)),
  datasync: promised(() => {
    fs.fdatasyncSync(fd)
    onSync()
  }),
  close: promised(() => fs.closeSync(fd))
})
