import type { NetJson } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'

export const net = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/net',
    handle: async (): Promise<NetJson[]> => daemon.member().mesh.network()
  }
]
