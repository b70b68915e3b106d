import { assert, BLOCK_BYTES, getU64, isSafeU64, ProtocolError, setU64, viewOf } from '@tidemark/base';
import { HASH_BYTES, HASH_EXTENT_BYTES_MAX, HASH_REPLY_HEAD_BYTES, HASH_REQUEST_BYTES } from './limits.js';

/** Body of a hash request; a reply repeats its first 16 bytes, with its status, and then has the digests. */
export const HASH_AT = {
  volume: 0, // u16
  status: 2, // u16, HashStatus; 0 in a request
  length: 4, // u32, bytes
  offset: 8, // u64, bytes in the volume
  atSeq: 16, // u64, request only: the head must hold the stream up to here
} as const;
assert(HASH_AT.atSeq === HASH_REPLY_HEAD_BYTES && HASH_AT.atSeq + 8 === HASH_REQUEST_BYTES, 'layout of hash frames');

export const HashStatus = {
  digests: 0,
  /** The whole extent reads as zeroes; no digests follow. */
  zeroes: 1,
  /** The extent could not be read there; no digests follow, and every block counts as different. */
  unreadable: 2,
} as const;
export type HashStatus = (typeof HashStatus)[keyof typeof HashStatus];

/** Whole blocks of a volume, but for the volume's short last one. */
export interface HashExtent {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}

export interface HashRequest extends HashExtent {
  /** The head that is hashed holds the stream at least up to here. */
  readonly atSeq: number;
}

/** One SHA-256 digest per 4 KiB block, one behind the other; of a block that reads as zeroes 32 bytes 0. */
export type BlockHashes = Uint8Array | 'zeroes' | 'unreadable';

export interface HashReply extends HashExtent {
  readonly hashes: BlockHashes;
}

export const hashedBlocks = (length: number): number => Math.ceil(length / BLOCK_BYTES);

export function encodeHashRequest(request: HashRequest): Uint8Array {
  const body = new Uint8Array(HASH_REQUEST_BYTES);
  putExtent(body, request, HashStatus.digests);
  setU64(viewOf(body), HASH_AT.atSeq, request.atSeq);
  return body;
}

/** Throws ProtocolError for an extent that is not inside its volume, not of whole blocks or too long. */
export function decodeHashRequest(body: Uint8Array, volumeSizesBytes: readonly number[]): HashRequest {
  if (body.byteLength !== HASH_REQUEST_BYTES) throw new ProtocolError('PROTOCOL_LAYOUT', `hash request of ${body.byteLength} bytes`);
  const view = viewOf(body);
  const { status, ...extent } = takeExtent(view);
  if (status !== HashStatus.digests || !isSafeU64(view, HASH_AT.atSeq)) throw new ProtocolError('PROTOCOL_LAYOUT', 'hash request');
  const sizeBytes = volumeSizesBytes[extent.volume] ?? 0;
  const end = extent.offset + extent.length;
  const isWhole = extent.offset % BLOCK_BYTES === 0 && (extent.length % BLOCK_BYTES === 0 || end === sizeBytes);
  if (extent.length === 0 || extent.length > HASH_EXTENT_BYTES_MAX || end > sizeBytes || !isWhole) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `hash request for ${extent.length} bytes at ${extent.offset} of volume ${extent.volume}`);
  }
  return { ...extent, atSeq: getU64(view, HASH_AT.atSeq) };
}

/** As chunks: the head, and the digests as given. */
export function encodeHashReply({ hashes, ...extent }: HashReply): Uint8Array[] {
  const head = new Uint8Array(HASH_REPLY_HEAD_BYTES);
  putExtent(head, extent, typeof hashes === 'string' ? HashStatus[hashes] : HashStatus.digests);
  return typeof hashes === 'string' ? [head] : [head, hashes];
}

/** Throws ProtocolError unless there are exactly as many digests as the extent has blocks. Whether it was asked for is the caller's to check. */
export function decodeHashReply(body: Uint8Array): HashReply {
  if (body.byteLength < HASH_REPLY_HEAD_BYTES) throw new ProtocolError('PROTOCOL_LAYOUT', `hash reply of ${body.byteLength} bytes`);
  const { status, ...extent } = takeExtent(viewOf(body));
  const digests = body.subarray(HASH_REPLY_HEAD_BYTES);
  const isWithDigests = status === HashStatus.digests;
  if (digests.byteLength !== (isWithDigests ? hashedBlocks(extent.length) * HASH_BYTES : 0)) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `${digests.byteLength} bytes of digests for ${extent.length} bytes`);
  }
  if (isWithDigests) return { ...extent, hashes: digests };
  if (status === HashStatus.zeroes) return { ...extent, hashes: 'zeroes' };
  if (status === HashStatus.unreadable) return { ...extent, hashes: 'unreadable' };
  throw new ProtocolError('PROTOCOL_LAYOUT', `hash reply of status ${status}`);
}

/** Which blocks of the extent are the same on both sides: 1, else 0. What cannot be read is never the same. */
export function equalBlocks(a: BlockHashes, b: BlockHashes, length: number): Uint8Array {
  const count = hashedBlocks(length);
  const equal = new Uint8Array(count);
  if (a === 'unreadable' || b === 'unreadable') return equal;
  for (let block = 0; block < count; block += 1) equal[block] = isSameDigest(a, b, block * HASH_BYTES) ? 1 : 0;
  return equal;
}

function isSameDigest(a: Uint8Array | 'zeroes', b: Uint8Array | 'zeroes', at: number): boolean {
  for (let i = at; i < at + HASH_BYTES; i += 1) {
    if ((a === 'zeroes' ? 0 : a[i]) !== (b === 'zeroes' ? 0 : b[i])) return false;
  }
  return true;
}

function putExtent(body: Uint8Array, { volume, offset, length }: HashExtent, status: HashStatus): void {
  const view = viewOf(body);
  view.setUint16(HASH_AT.volume, volume, true);
  view.setUint16(HASH_AT.status, status, true);
  view.setUint32(HASH_AT.length, length, true);
  setU64(view, HASH_AT.offset, offset);
}

function takeExtent(view: DataView): HashExtent & { readonly status: number } {
  if (!isSafeU64(view, HASH_AT.offset)) throw new ProtocolError('PROTOCOL_LIMIT', 'offset above 2^53');
  return {
    volume: view.getUint16(HASH_AT.volume, true),
    status: view.getUint16(HASH_AT.status, true),
    length: view.getUint32(HASH_AT.length, true),
    offset: getU64(view, HASH_AT.offset),
  };
}
