import type { StorageFailure } from '@tidemark/journal';

export { compressBody, crc32c, decompressBody } from '@tidemark/link';

const NO_SPACE: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'VOLUME_FULL']);

/** Full, or failed? Anything that is not plainly "no space" is a failure. */
export function storageFailure(error: unknown): { readonly reason: StorageFailure; readonly detail: string } {
  const { code, message } = error as { readonly code?: unknown; readonly message?: string };
  return { reason: NO_SPACE.has(code) ? 'noSpace' : 'io', detail: message ?? String(error) };
}
