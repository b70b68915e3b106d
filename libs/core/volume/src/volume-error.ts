import { TidemarkError } from '@tidemark/base';

export type VolumeErrorCode =
  | 'VOLUME_IO'
  | 'VOLUME_FULL'
  | 'VOLUME_READ_ONLY'
  | 'VOLUME_CLOSED'
  /** Opening only: there is no such file, it has another size, or another process writes to it. */
  | 'VOLUME_NOT_FOUND'
  | 'VOLUME_SIZE'
  | 'VOLUME_BUSY';

/**
 * What a volume's storage did. A full volume may have room later and a busy one be free; an I/O error may not be retried
 * blindly.
 */
export class VolumeError extends TidemarkError<VolumeErrorCode> {
  get isRetryable(): boolean {
    return this.code === 'VOLUME_FULL' || this.code === 'VOLUME_BUSY';
  }
}
