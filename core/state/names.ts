import { pattern } from './shape.ts'

/** Names of nodes, applications and microservices: what DNS, Docker and a person can all say. */
export const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
export const name = pattern(NAME)

/** A node's id: its Ed25519 public key in z-base-32. */
export const nodeId = pattern(/^[ybndrfg8ejkmcpqxot1uwisza345h769]{52}$/)

/** A label or constraint key, as Docker and Kubernetes have them: `zone`, `site/rack`. */
export const LABEL_KEY = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?$/
export const labelKey = pattern(LABEL_KEY)
