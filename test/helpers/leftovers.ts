/** Finding and ending processes that belong to a directory of ours, theirs and their children's. */
import { readFile, readdir } from 'node:fs/promises'
import { waitUntil } from './wait.ts'

/** Ends, hard, every process that names `dir` in its arguments, and all it started. */
export async function endProcessesOf(dir: string, more: number[] = []): Promise<void> {
  const processes = await allProcesses()
  const doomed = new Set(more)
  for (const { pid, commandLine } of processes) {
    if (pid !== process.pid && commandLine.includes(dir)) doomed.add(pid)
  }
  for (let grew = true; grew;) {
    const before = doomed.size
    for (const { pid, parent } of processes) if (doomed.has(parent)) doomed.add(pid)
    grew = doomed.size > before
  }
  doomed.delete(process.pid)
  for (const pid of doomed) kill(pid)
  await waitUntil(async () => {
    const left = await Promise.all([...doomed].map(isThere))
    return !left.includes(true)
  }, 10_000)
}

export async function isThere(pid: number): Promise<boolean> {
  const stat = await readOrEmpty(`/proc/${pid}/stat`)
  return stat !== '' && !/^\) [ZX]/.test(stat.slice(stat.lastIndexOf(')')))
}

interface Process {
  pid: number
  parent: number
  commandLine: string
}

async function allProcesses(): Promise<Process[]> {
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger)
  return Promise.all(
    pids.map(async (pid) => {
      const stat = await readOrEmpty(`/proc/${pid}/stat`)
      const commandLine = (await readOrEmpty(`/proc/${pid}/cmdline`)).replaceAll('\0', ' ')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      return { pid, parent, commandLine }
    })
  )
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(code)) return ''
    throw error
  }
}
