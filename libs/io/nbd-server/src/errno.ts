import { NbdErrno } from '@tidemark/nbd';
import { VolumeError } from '@tidemark/volume';

/** What the client hears of a failed request. What is no volume error is a bug of ours, and an I/O error to the guest. */
export function nbdErrnoOf(error: unknown): NbdErrno {
  if (!(error instanceof VolumeError)) return NbdErrno.eio;
  switch (error.code) {
    case 'VOLUME_FULL':
      return NbdErrno.enospc;
    case 'VOLUME_READ_ONLY':
      return NbdErrno.eperm;
    case 'VOLUME_CLOSED':
      return NbdErrno.eshutdown;
    default:
      return NbdErrno.eio;
  }
}
