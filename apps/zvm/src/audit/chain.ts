import { createHash } from 'node:crypto';
import type { AuditEntry, ChainedEntry, ChainHead } from './audit-entry.js';

/** JSON with sorted keys and no blanks: one text for one value, whatever PostgreSQL's jsonb makes of the order. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const pairs = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${pairs.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join(',')}}`;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Before the first entry; the chains of two sites differ from their first link on. */
export const genesisOf = (siteId: string): ChainHead => ({ seq: 0, hash: sha256(`tidemark audit v1 ${siteId}`) });

/** SHA-256 over the hash before, the sequence number and the entry. */
export const hashOf = (before: string, seq: number, entry: AuditEntry): string => sha256(`${before}\n${seq}\n${canonical(entry)}`);

export function linked(before: ChainHead, entries: readonly AuditEntry[]): ChainedEntry[] {
  let { seq, hash } = before;
  return entries.map((entry) => {
    seq += 1;
    hash = hashOf(hash, seq, entry);
    return { seq, entry, hash };
  });
}

export type BreakKind = 'missing' | 'changed' | 'cutAtEnd' | 'rewritten' | 'recorded';

export interface ChainBreak {
  readonly seq: number;
  readonly kind: BreakKind;
  readonly detail: string;
}

export interface Verification {
  readonly count: number;
  readonly head: ChainHead;
  /** The first one; null: every entry is there and as it was written. */
  readonly firstBreak: ChainBreak | null;
}

/** Says in the chain itself that it was found broken. */
export const BROKEN_ACTION = 'audit.broken';

/**
 * Walks the chain. `anchor` is what the ZVM last noted outside the database: without it entries cut off at the end, or a chain computed anew,
 * would not be seen. Entries after the anchor are those written since.
 */
export async function verifyChain(genesis: ChainHead, entries: AsyncIterable<ChainedEntry>, anchor: ChainHead | null): Promise<Verification> {
  let head = genesis;
  let count = 0;
  let firstBreak: ChainBreak | null = null;
  const found = (seq: number, kind: BreakKind, detail: string): void => {
    firstBreak ??= { seq, kind, detail };
  };
  for await (const { seq, entry, hash } of entries) {
    count += 1;
    if (seq !== head.seq + 1) found(head.seq + 1, 'missing', `entries ${head.seq + 1} to ${seq - 1} are not there`);
    else if (hash !== hashOf(head.hash, seq, entry)) found(seq, 'changed', `entry ${seq} is not what was written: its content, or the hash of it or of the entry before, was changed`);
    if (entry.action === BROKEN_ACTION) found(seq, 'recorded', entry.message ?? '');
    if (anchor?.seq === seq && anchor.hash !== hash) found(seq, 'rewritten', `entry ${seq} has another hash than the one noted outside the database: the chain was computed anew`);
    head = { seq, hash };
  }
  if (anchor !== null && anchor.seq > head.seq) found(head.seq + 1, 'cutAtEnd', `entries ${head.seq + 1} to ${anchor.seq} were written and are not there`);
  return { count, head, firstBreak };
}
