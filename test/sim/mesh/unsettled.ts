/**
 * What a mesh is known not to stand in every world yet: off, so that the rest goes on being proven.
 * `BRUME_SIM_UNSETTLED=recover,power` tries it; the seeds below then fail, of 2000 to 2399 two.
 *
 * - `recover`: an old quorum that confirmed a change of indexers just before it goes over to a fork
 *   goes on with an order of its own under the fork's name (1402). Who goes over to one reads a block
 *   with keys of the other order, `Unrecognised encryption type`, and stops (2063).
 * - `power`: a node that was removed after a power cut took blocks of its view knows nobody who confirms
 *   the order (2333).
 */
const tried = new Set((process.env['BRUME_SIM_UNSETTLED'] ?? '').split(','))

export const isTried = (what: 'recover' | 'power'): boolean => tried.has(what)
