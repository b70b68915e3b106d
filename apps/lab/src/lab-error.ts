import { TidemarkError } from '@tidemark/base';

export type LabErrorCode =
  | 'LAB_PORT_IN_USE'
  | 'LAB_PROGRAM_MISSING'
  | 'LAB_PROCESS_DIED'
  | 'LAB_TIMEOUT'
  | 'LAB_UNKNOWN'
  | 'LAB_NOT_UP'
  | 'LAB_BUSY'
  | 'LAB_FOLDER'
  | 'LAB_REFUSED'
  | 'LAB_PROOF';

/** What keeps the lab from doing what it was asked; the message says what to do about it. */
export class LabError extends TidemarkError<LabErrorCode> {
  get isRetryable(): boolean {
    return this.code === 'LAB_TIMEOUT' || this.code === 'LAB_BUSY';
  }
}
