import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompressSync } from 'node:zlib';
import { ProtocolError } from '@tidemark/base';
import { FrameCodec } from '@tidemark/frame';

const compress = promisify(zstdCompress);
const LEVEL = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** Below this a frame is sent as it is: the gain is small and the thread-pool hop is not. */
export const COMPRESSED_BYTES_MIN = 4096;
/** A frame that shrinks by less than an eighth travels as it is, so that the receiver need not decompress it for nothing. */
const GAIN_MIN = 1 / 8;

export interface PackedBody {
  readonly codec: FrameCodec;
  readonly chunks: readonly Uint8Array[];
}

/** zstd level 1 in the thread pool, over the whole body. Incompressible bodies come back as they were. */
export async function packBody(chunks: readonly Uint8Array[], rawBytes: number): Promise<PackedBody> {
  const packed = await compress(Buffer.concat(chunks, rawBytes), LEVEL);
  if (packed.byteLength > rawBytes * (1 - GAIN_MIN)) return { codec: FrameCodec.none, chunks };
  return { codec: FrameCodec.zstd, chunks: [packed] };
}

/** The body before compression; exactly `rawBytes` long or a ProtocolError. Never allocates more than `rawBytes`. */
export function unpackBody(codec: FrameCodec, body: Uint8Array, rawBytes: number): Uint8Array {
  if (codec === FrameCodec.none) return body;
  if (codec !== FrameCodec.zstd) throw new ProtocolError('PROTOCOL_KIND', `codec ${String(codec)} is not supported`);
  let raw: Uint8Array;
  try {
    raw = zstdDecompressSync(body, { maxOutputLength: rawBytes });
  } catch (cause) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `body does not decompress to ${String(rawBytes)} bytes`, { cause });
  }
  if (raw.byteLength !== rawBytes) throw new ProtocolError('PROTOCOL_LAYOUT', `body decompresses to ${String(raw.byteLength)} bytes, not ${String(rawBytes)}`);
  return raw;
}
