import { AsyncLocalStorage } from 'node:async_hooks';
import type { AuditChange } from './audit-entry.js';
import { changesBetween } from './redaction.js';

/** What a handler adds to the audit entry of the request that it serves. */
export class AuditNote {
  readonly entities = new Set<string>();
  changes: AuditChange[] | null = null;
  taskId: string | null = null;
  /** Of the intent that {@link AuditLog.begin} has noted for this request. */
  begunId: string | undefined;
  /** Who it claims to be, before it is known. */
  claimedUser: string | null = null;
  /** Durable before the act, for a handler that only then knows that there will be one. It may come twice. @throws ZvmError ZVM_DATABASE_DOWN: nothing may be done */
  begin: () => Promise<void> = () => Promise.resolve();
  /** It was so already: asked again, as sites do each second. */
  isNothing = false;
  /** The answer is being written: what comes later belongs to no request. */
  isClosed = false;

  changed(before: unknown, after: unknown): void {
    this.changes = [...(this.changes ?? []), ...changesBetween(before, after)];
  }
}

const notes = new AsyncLocalStorage<AuditNote>();

export const withNote = <R>(note: AuditNote, work: () => R): R => notes.run(note, work);

/** Of the request under way; undefined where the site acts by itself. Work that a request started and that goes on after its answer has none. */
export function currentNote(): AuditNote | undefined {
  const note = notes.getStore();
  return note?.isClosed === false ? note : undefined;
}
