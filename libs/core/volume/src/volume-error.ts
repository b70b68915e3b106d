import { TidemarkError } from '@tidemark/base';

export type VolumeErrorCode = 'VOLUME_IO' | 'VOLUME_FULL' | 'VOLUME_READ_ONLY' | 'VOLUME_CLOSED';

/** What a volume's storage did. A full volume may have room later; an I/O error may not be retried blindly. */
export class VolumeError extends TidemarkError<VolumeErrorCode> {
  get isRetryable(): boolean {
    return this.code === 'VOLUME_FULL';
  }
}
