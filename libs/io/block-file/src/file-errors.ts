import { VolumeError, type VolumeErrorCode } from '@tidemark/volume';

const CODES: Readonly<Record<string, VolumeErrorCode>> = {
  ENOSPC: 'VOLUME_FULL',
  EDQUOT: 'VOLUME_FULL',
  EFBIG: 'VOLUME_FULL',
  SYS_FULL: 'VOLUME_FULL',
  EROFS: 'VOLUME_READ_ONLY',
  EACCES: 'VOLUME_READ_ONLY',
  ENOENT: 'VOLUME_NOT_FOUND',
};

/** The volume's error for what Node or a system call reported; a {@link VolumeError} stays what it is. */
export function volumeErrorOf(cause: unknown, doing: string): VolumeError {
  if (cause instanceof VolumeError) return cause;
  const { code, message } = cause as { code?: string; message?: string };
  return new VolumeError(CODES[code ?? ''] ?? 'VOLUME_IO', `${doing}: ${message ?? String(cause)}`, { cause });
}
