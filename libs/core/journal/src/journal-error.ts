import { TidemarkError } from '@tidemark/base';

export type JournalErrorCode =
  | 'JOURNAL_FULL' // no space for this record; nothing was changed
  | 'JOURNAL_IO' // the storage failed; this generation takes no more
  | 'JOURNAL_BROKEN' // a record that takes stream data was given to a broken journal
  | 'JOURNAL_CORRUPT' // bytes that were acknowledged do not read back
  | 'JOURNAL_ENDED' // a failover was committed: the history is closed
  | 'JOURNAL_FENCED' // an epoch or incarnation older than the journal's
  | 'JOURNAL_ORDER' // a frame that does not follow the one before, or lies outside its volume
  | 'JOURNAL_PINNED' // an open view or failover needs what would be retired or overwritten
  | 'JOURNAL_CHECKPOINT' // the checkpoint is not held
  | 'JOURNAL_NOT_RETIRED' // apply asked for before the retirement is durable
  | 'JOURNAL_EPOCH' // an epoch step out of order
  | 'JOURNAL_IDENTITY' // the folder holds the journal of another protection
  | 'JOURNAL_VERSION' // a whole file or record of another format version: nothing is changed
  | 'JOURNAL_CLOSED';

export class JournalError extends TidemarkError<JournalErrorCode> {
  get isRetryable(): boolean {
    return this.code === 'JOURNAL_FULL' || this.code === 'JOURNAL_PINNED';
  }
}

/** What a program of another version has written whole is no damage: whoever meets it stops before anything is changed. docs/spec/journal.md, Another version */
export const otherVersion = (what: string, version: number, own: number): JournalError =>
  new JournalError('JOURNAL_VERSION', `${what} has format version ${version}, this program reads version ${own} only. Nothing was changed: start the version of Tidemark that wrote it`);
