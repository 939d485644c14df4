/** Who confirms the order of ops, where those who do are lost. */
import { survey } from '../../../../core/state/recover.ts'
import { isTried } from '../unsettled.ts'
import type { Operation } from './operation.ts'

export const order: Operation[] = [
  {
    name: 'recover',
    weight: isTried('recover') ? 4 : 0,
    act(world, host, random) {
      const { mesh } = host
      if (mesh.me?.role !== 'admin' || mesh.me.state !== 'member') return false
      const { confirming, quorum, most } = survey(mesh.state, mesh.alive())
      // As the daemon asks: not where enough are in reach, and a minority only if told so.
      if (confirming >= quorum && confirming > 0) return false
      if (!most && random.chance(0.4)) return false
      world.recover(host, most ? 'recover' : 'recover --minority')
      return true
    }
  }
]
