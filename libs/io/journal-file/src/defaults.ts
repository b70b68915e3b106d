import { zstdDecompressSync } from 'node:zlib';
import fastCrc32c from '@chainsafe/fast-crc32c';
import { type Crc32c, ProtocolError } from '@tidemark/base';
import { FrameCodec } from '@tidemark/frame';
import type { StorageFailure } from '@tidemark/journal';
import type { Decompress } from './types.js';

/** SSE 4.2 through a native module: 14 GiB/s here. */
export const crc32c: Crc32c = (bytes, previous) => fastCrc32c.calculate(bytes, previous);

/** none and zstd, with Node's own zlib. */
export const decompressBody: Decompress = (codec, body, rawBytes) => {
  if (codec === FrameCodec.none) return body;
  if (codec !== FrameCodec.zstd) throw new ProtocolError('PROTOCOL_KIND', `codec ${codec} is not available here`);
  let raw: Uint8Array;
  try {
    raw = zstdDecompressSync(body, { maxOutputLength: Math.max(1, rawBytes) });
  } catch (cause) {
    throw new ProtocolError('PROTOCOL_LAYOUT', 'body does not decompress', { cause });
  }
  if (raw.byteLength !== rawBytes) throw new ProtocolError('PROTOCOL_LAYOUT', `body of ${raw.byteLength} raw bytes, ${rawBytes} expected`);
  return raw;
};

const NO_SPACE: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'VOLUME_FULL']);

/** Full, or failed? Anything that is not plainly "no space" is a failure. */
export function storageFailure(error: unknown): { readonly reason: StorageFailure; readonly detail: string } {
  const { code, message } = error as { readonly code?: unknown; readonly message?: string };
  return { reason: NO_SPACE.has(code) ? 'noSpace' : 'io', detail: message ?? String(error) };
}
