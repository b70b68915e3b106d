import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { compressSync, uncompressSync } from 'lz4-napi';
import { ProtocolError, unreachable, viewOf } from '@tidemark/base';
import { FrameCodec } from '@tidemark/frame';

const COMPRESS = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
/** 2^23: what zstd may allocate as its window, whatever the body asks for. Level 1 uses at most 2^19. */
const WINDOW_LOG_MAX = 23;
const LZ4_PREFIX_BYTES = 4;

/** The body of a frame in `codec`: zstd, one frame of RFC 8878 at level 1; lz4, the raw length as u32 and then one LZ4 block. */
export function compressBody(codec: FrameCodec, raw: Uint8Array): Uint8Array {
  switch (codec) {
    case FrameCodec.none:
      return raw;
    case FrameCodec.lz4:
      return compressSync(asBuffer(raw));
    case FrameCodec.zstd:
      return zstdCompressSync(raw, COMPRESS);
    default:
      return unreachable(codec);
  }
}

/**
 * The body before compression. Exactly `rawBytes` long, or a {@link ProtocolError}; never allocates more than that and a bounded window, so
 * the caller's check of `rawBytes` against the limit of a frame is what stops a decompression bomb.
 */
export function decompressBody(codec: FrameCodec, body: Uint8Array, rawBytes: number): Uint8Array {
  if (codec === FrameCodec.none) return body;
  let raw: Uint8Array;
  try {
    raw = codec === FrameCodec.lz4 ? lz4Block(body, rawBytes) : zstdFrame(body, rawBytes);
  } catch (cause) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `body does not decompress to ${String(rawBytes)} bytes`, { cause });
  }
  if (raw.byteLength !== rawBytes) throw new ProtocolError('PROTOCOL_LAYOUT', `body decompresses to ${String(raw.byteLength)} bytes, not ${String(rawBytes)}`);
  return raw;
}

/** The decoder believes the length in front of the block and allocates it: it is compared with what was checked before. */
function lz4Block(body: Uint8Array, rawBytes: number): Uint8Array {
  const isPrefixed = body.byteLength > LZ4_PREFIX_BYTES && viewOf(body).getUint32(0, true) === rawBytes;
  if (!isPrefixed) throw new ProtocolError('PROTOCOL_LAYOUT', 'lz4 body with another length than its frame');
  return uncompressSync(body);
}

/** A limit of 0 would mean none: an empty body is refused by its length afterwards. */
function zstdFrame(body: Uint8Array, rawBytes: number): Uint8Array {
  return zstdDecompressSync(body, { maxOutputLength: Math.max(1, rawBytes), params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX } });
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
