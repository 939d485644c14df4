/**
 * What a mesh is known not to stand in every world yet: off, so that the rest goes on being proven.
 * `BRUME_SIM_UNSETTLED=recover,power` tries it; the seeds below, of first 2000 on, then fail.
 *
 * - `recover`: a node that goes over to a fork may read blocks of one order by the keys of another
 *   ("Unrecognised encryption type": 2084, 2143), and an old quorum that confirmed a change of
 *   indexers just then goes on with an order of its own under the new fork's name (2029, 2167).
 * - `power`: a node that lost the end of its disk may wait for ever for blocks of its view (2094,
 *   2147, 2181), or keep another view than all others, confirmed no further (2095, 2148).
 */
const tried = new Set((process.env['BRUME_SIM_UNSETTLED'] ?? '').split(','))

export const isTried = (what: 'recover' | 'power'): boolean => tried.has(what)
