import { assert } from '@tidemark/base';
import { VolumeError } from './volume-error.js';

/** Asserts what every volume may expect of its caller: a range of whole bytes inside the volume. */
export function assertInVolume(volume: { readonly sizeBytes: number }, offset: number, length: number): void {
  assert(offset >= 0 && length >= 0 && offset + length <= volume.sizeBytes, 'range outside the volume');
}

/** Throws `VOLUME_CLOSED` or `VOLUME_READ_ONLY` when a volume in that state is asked to change something. */
export function checkWritable(volume: { readonly isReadOnly: boolean }, isClosed: boolean): void {
  checkOpen(isClosed);
  if (volume.isReadOnly) throw new VolumeError('VOLUME_READ_ONLY', 'the volume is read-only');
}

export function checkOpen(isClosed: boolean): void {
  if (isClosed) throw new VolumeError('VOLUME_CLOSED', 'the volume is closed');
}
