/** Fields every record of the view has, and who wrote it. */

/** `<writer id>.<length>`: names one op for ever. */
export type OpId = string

export interface Written {
  /** The op whose value this is. */
  op: OpId
  /** Node id of its author. */
  by: string
  /** Wall ms at its author, for people only. */
  at: number
}
