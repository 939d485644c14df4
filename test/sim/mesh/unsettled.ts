/**
 * What a mesh is known not to stand in every world yet: off, so that the rest goes on being proven.
 * `BRUME_SIM_UNSETTLED=recover,power` tries it; the seeds below, of first 2000 on, then fail.
 *
 * - `recover`: an old quorum that confirmed a change of indexers just before it goes over to a fork
 *   goes on with an order of its own under the fork's name (2029, 2167); Autobase's fork may fail, of
 *   which the log says more than it should (2037, 2208).
 * - `power`: a node that lost the end of its disk may wait for ever for blocks of its view (2094,
 *   2147, 2181), or keep another view than all others, confirmed no further (2095, 2148).
 */
const tried = new Set((process.env['BRUME_SIM_UNSETTLED'] ?? '').split(','))

export const isTried = (what: 'recover' | 'power'): boolean => tried.has(what)
