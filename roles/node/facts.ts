/** What this node is, told in gossip. */
import { arch, cpus, platform, totalmem } from 'node:os'
import type { FactsBody } from '../../core/gossip-records.ts'
import { devicesAsked } from '../../core/state/devices.ts'
import { FORMAT } from '../../core/state/mesh.ts'
import { throttle } from '../../core/throttle.ts'
import { watchDevices } from '../agent/devices.ts'
import type { EngineInfo } from '../agent/engine.ts'
import type { NodeComponents } from '../node.ts'
import type { NamesReport } from './connector.ts'
import { VIEW_MS } from './world.ts'

export interface Facts {
  noteNames: (report: NamesReport) => void
  noteEngine: (engine: FactsBody['engine'], info: EngineInfo | null) => void
  /** What was last said of it. */
  engine: () => FactsBody['engine']
  end: () => void
}

/** What this node is, told when that changes: nothing before its engine was looked at. */
export function tellFacts({ mesh, version }: NodeComponents): Facts {
  let engine: FactsBody['engine'] | null = null
  let info: EngineInfo | null = null
  let devices: Record<string, boolean> = {}
  let names: string | null = null
  const tell = (): void => {
    if (engine === null) return
    mesh.gossip.publish('facts', {
      version,
      format: FORMAT,
      os: platform(),
      arch: info?.arch ?? nodeArch(),
      engine,
      cpus: info?.cpus ?? cpus().length,
      memoryBytes: info?.memoryBytes ?? totalmem(),
      ...(Object.keys(devices).length > 0 && { devices }),
      ...(names !== null && { names })
    })
  }
  const watch = watchDevices({
    asked: () => devicesAsked(mesh.state),
    tell(found) {
      devices = found
      tell()
    }
  })
  const look = throttle(() => watch.look(), VIEW_MS)
  mesh.on('view', look)
  look()
  return {
    noteNames({ problem }) {
      const next = problem?.next ?? null
      const said =
        problem === null ? null : next === null ? problem.message : `${problem.message} (${next})`
      if (said === names) return
      names = said
      tell()
    },
    noteEngine(said, found) {
      engine = said
      info = found
      tell()
    },
    engine: () => engine ?? { kind: 'none', version: null, problem: null },
    end() {
      mesh.off('view', look)
      look.end()
      watch.end()
    }
  }
}

const nodeArch = (): string => (arch() === 'x64' ? 'amd64' : arch())
