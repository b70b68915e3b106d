import type { LoginMethod } from '../access/caller.js';

/** `System`: the site by itself, or a step of a task. `Peer`: a paired site, on its word. `Appliance`: a VRA or a VBA. `Unknown`: nobody that is known yet. */
export type AuditMethod = LoginMethod | 'System' | 'Peer' | 'Appliance' | 'Unknown';
/** `Unknown`: the ZVM was stopped between the act's beginning and its entry. */
export type AuditResult = 'Done' | 'Refused' | 'Failed' | 'Unknown';

export interface AuditChange {
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** One act. Plain JSON: it is hashed and stored as it is. */
export interface AuditEntry {
  /** Made before the act, or before the entry is written, so that one written twice is known. */
  readonly id: string;
  readonly atMs: number;
  readonly user: string;
  readonly method: AuditMethod;
  readonly tokenId: string | null;
  readonly sessionId: string | null;
  /** Of the identity provider; of `Peer` the site's id, of `Appliance` role and id. */
  readonly subject: string | null;
  readonly address: string | null;
  readonly client: string | null;
  /** `POST /vpgs/:vpg/Failover`, `peer vpg.act`, `task.ended Move`, `ca.switched`. */
  readonly action: string;
  readonly permission: string | null;
  /** `vpg:<id>`, `user:<id>`, … */
  readonly entities: readonly string[];
  /** The request's body, without secrets; null when there is none. */
  readonly input: unknown;
  readonly changes: readonly AuditChange[] | null;
  readonly result: AuditResult;
  /** HTTP status. */
  readonly status: number | null;
  readonly message: string | null;
  readonly taskId: string | null;
}

export interface ChainedEntry {
  readonly seq: number;
  readonly entry: AuditEntry;
  readonly hash: string;
}

export interface ChainHead {
  readonly seq: number;
  readonly hash: string;
}
