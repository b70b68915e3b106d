import { TidemarkError } from '@tidemark/base';

export type NbdServerErrorCode =
  /** No export of that name. */
  | 'NBD_EXPORT_UNKNOWN'
  /** An export of that name stands already. */
  | 'NBD_EXPORT_EXISTS'
  /** The new volume differs in size, or is read-only under a writable export. */
  | 'NBD_EXPORT_MISMATCH'
  /** The address cannot be listened on: in use, not allowed, too long. */
  | 'NBD_LISTEN';

export class NbdServerError extends TidemarkError<NbdServerErrorCode> {
  get isRetryable(): boolean {
    return this.code === 'NBD_LISTEN';
  }
}
