/** What administrators do, on any side of a split. One more is one entry in a file below. */
import { applications } from './applications.ts'
import { doors } from './doors.ts'
import { nodes } from './nodes.ts'
import type { Operation } from './operation.ts'
import { order } from './order.ts'

export const OPERATIONS: Operation[] = [...applications, ...nodes, ...doors, ...order]
