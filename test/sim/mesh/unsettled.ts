/**
 * What a mesh is known not to stand in every world yet: off, so that the rest goes on being proven.
 * `BRUME_SIM_UNSETTLED=recover,power` tries it; the seeds below then fail, of 2000 to 2199 four.
 *
 * - `recover`: an old quorum that confirmed a change of indexers just before it goes over to a fork
 *   goes on with an order of its own under the fork's name (1402, 2029).
 * - `power`: a node whose power was cut amid a change of indexers makes it again when it opens, and waits
 *   for ever for blocks of the system core that were in no other node (2046; 2055, 2094, 2105 look alike).
 */
const tried = new Set((process.env['BRUME_SIM_UNSETTLED'] ?? '').split(','))

export const isTried = (what: 'recover' | 'power'): boolean => tried.has(what)
