/** What this node is, told in gossip. */
import { arch, cpus, platform, totalmem } from 'node:os'
import type { FactsBody } from '../../core/gossip-records.ts'
import { devicesAsked } from '../../core/state/devices.ts'
import { imagesAsked } from '../../core/state/images.ts'
import { FORMAT } from '../../core/state/mesh.ts'
import { throttle } from '../../core/throttle.ts'
import { DEVICES } from '../agent/devices.ts'
import type { Engine, EngineInfo } from '../agent/engine.ts'
import { IMAGES, isImageIn } from '../agent/images.ts'
import { keepLookout } from '../agent/lookout.ts'
import type { NodeComponents } from '../node.ts'
import type { NamesReport } from './connector.ts'
import { VIEW_MS } from './world.ts'

export interface Facts {
  noteNames: (report: NamesReport) => void
  noteEngine: (engine: FactsBody['engine'], info: EngineInfo | null) => void
  /** The engine that is asked from now on; told before `noteEngine` is. */
  noteOpened: (engine: Engine | null) => void
  /** Images came to the engine, or went. */
  noteImages: () => void
  /** What was last said of it. */
  engine: () => FactsBody['engine']
  end: () => void
}

/** `docker load` of one file tells of many images. */
const IMAGES_MS = 500

/** What this node is, told when that changes: nothing before its engine was looked at. */
export function tellFacts({ mesh, version }: NodeComponents): Facts {
  let engine: FactsBody['engine'] | null = null
  let info: EngineInfo | null = null
  let opened: Engine | null = null
  /** What the engine said of itself last: it may be away at the moment. */
  let known: EngineInfo | null = null
  let devices: Record<string, boolean> = {}
  let images: Record<string, boolean> = {}
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
      ...(Object.keys(images).length > 0 && { images }),
      ...(names !== null && { names })
    })
  }
  const forDevices = keepLookout({
    ...DEVICES,
    asked: () => devicesAsked(mesh.state),
    tell(found) {
      devices = found
      tell()
    }
  })
  const forImages = keepLookout({
    ...IMAGES,
    asked: () => (known?.kind === 'docker' ? imagesAsked(mesh.state, known.arch) : []),
    isThere: (image) => isImageIn(opened, image),
    tell(found) {
      images = found
      tell()
    }
  })
  const lookAgain = throttle(() => forImages.lookAgain(), IMAGES_MS)
  const look = throttle(() => {
    forDevices.look()
    forImages.look()
  }, VIEW_MS)
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
      if (found === null) return
      known = found
      lookAgain()
    },
    noteOpened(engine) {
      opened = engine
    },
    noteImages: lookAgain,
    engine: () => engine ?? { kind: 'none', version: null, problem: null },
    end() {
      mesh.off('view', look)
      look.end()
      lookAgain.end()
      forDevices.end()
      forImages.end()
    }
  }
}

const nodeArch = (): string => (arch() === 'x64' ? 'amd64' : arch())
