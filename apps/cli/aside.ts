/** What a data directory holds of a node's identity, put aside and back. */
import { existsSync, mkdirSync, renameSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'

const OF_AN_IDENTITY = [
  'identity',
  'machine',
  'mesh.json',
  'run.json',
  'store',
  'gossip',
  'agent.json'
]

/** Moves it into a new directory beside, `before-adopt` or `before-adopt-2` and so on. */
export function putAside(dir: string): { path: string; putBack(): void } {
  let n = 1
  const pathOf = (): string => join(dir, n === 1 ? 'before-adopt' : `before-adopt-${n}`)
  while (existsSync(pathOf())) n++
  const path = pathOf()
  mkdirSync(path, { mode: 0o700 })
  move(dir, path)
  return {
    path,
    putBack() {
      move(path, dir)
      rmdirSync(path)
    }
  }
}

function move(from: string, to: string): void {
  for (const name of OF_AN_IDENTITY) {
    if (existsSync(join(from, name))) renameSync(join(from, name), join(to, name))
  }
}
