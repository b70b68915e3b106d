import { utf8Bytes, viewOf } from '@tidemark/base';
import {
  BASE_ALLOCATION_ID, BlockState, CHUNK_FLAG_DONE, CHUNK_HEADER_BYTES, CHUNK_MAGIC, ChunkType, OFFSET_DATA_HEADER_BYTES, setOffset,
  SIMPLE_REPLY_BYTES, SIMPLE_REPLY_MAGIC,
} from './wire.js';

/** Which request a reply answers. */
export interface Cookie {
  readonly cookieHigh: number;
  readonly cookieLow: number;
}

interface Chunk {
  readonly type: number;
  readonly isLast: boolean;
  /** Bytes after the chunk's header. */
  readonly length: number;
}

/** Writes 16 bytes at `at`: success is `errno` 0. */
export function putSimpleReply(view: DataView, at: number, reply: Cookie & { readonly errno: number }): void {
  view.setUint32(at, SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, reply.errno);
  view.setUint32(at + 8, reply.cookieHigh);
  view.setUint32(at + 12, reply.cookieLow);
}

/** Writes 28 bytes at `at`; `length` bytes of the volume from `offset` on must follow. */
export function putOffsetData(view: DataView, at: number, part: { cookie: Cookie; offset: number; length: number; isLast: boolean }): void {
  putChunk(view, at, part.cookie, { type: ChunkType.offsetData, isLast: part.isLast, length: 8 + part.length });
  setOffset(view, at + CHUNK_HEADER_BYTES, part.offset);
}

/** A range that reads as zeroes: nothing follows. */
export function offsetHole(part: { cookie: Cookie; offset: number; length: number; isLast: boolean }): Uint8Array {
  const bytes = new Uint8Array(OFFSET_DATA_HEADER_BYTES + 4);
  const view = viewOf(bytes);
  putChunk(view, 0, part.cookie, { type: ChunkType.offsetHole, isLast: part.isLast, length: 12 });
  setOffset(view, CHUNK_HEADER_BYTES, part.offset);
  view.setUint32(OFFSET_DATA_HEADER_BYTES, part.length);
  return bytes;
}

export function simpleReply(cookie: Cookie, errno: number): Uint8Array {
  const bytes = new Uint8Array(SIMPLE_REPLY_BYTES);
  putSimpleReply(viewOf(bytes), 0, { cookieHigh: cookie.cookieHigh, cookieLow: cookie.cookieLow, errno });
  return bytes;
}

/** A failed request: structured where its success would be, simple elsewhere. `message` is for people and may be empty. */
export function errorReply(request: Cookie & { readonly isStructured: boolean }, errno: number, message: string): Uint8Array {
  if (!request.isStructured) return simpleReply(request, errno);
  const text = utf8Bytes(message);
  const bytes = new Uint8Array(CHUNK_HEADER_BYTES + 6 + text.length);
  const view = viewOf(bytes);
  putChunk(view, 0, request, { type: ChunkType.error, isLast: true, length: 6 + text.length });
  view.setUint32(CHUNK_HEADER_BYTES, errno);
  view.setUint16(CHUNK_HEADER_BYTES + 4, text.length);
  bytes.set(text, CHUNK_HEADER_BYTES + 6);
  return bytes;
}

export interface StatusRun {
  readonly length: number;
  readonly isHole: boolean;
  readonly isZero: boolean;
}

/** The runs of `base:allocation`, from the request's offset on. */
export function blockStatusReply(cookie: Cookie, runs: readonly StatusRun[]): Uint8Array {
  const bytes = new Uint8Array(CHUNK_HEADER_BYTES + 4 + 8 * runs.length);
  const view = viewOf(bytes);
  putChunk(view, 0, cookie, { type: ChunkType.blockStatus, isLast: true, length: 4 + 8 * runs.length });
  view.setUint32(CHUNK_HEADER_BYTES, BASE_ALLOCATION_ID);
  let at = CHUNK_HEADER_BYTES + 4;
  for (const run of runs) {
    view.setUint32(at, run.length);
    view.setUint32(at + 4, (run.isHole ? BlockState.hole : 0) | (run.isZero ? BlockState.zero : 0));
    at += 8;
  }
  return bytes;
}

/** Neighbours of one state become one run; at most `runsMax` of them, and never longer than `length` together. */
export function mergedRuns(runs: readonly StatusRun[], limits: { length: number; runsMax: number }): StatusRun[] {
  const merged: StatusRun[] = [];
  let left = limits.length;
  for (const run of runs) {
    const length = Math.min(run.length, left);
    if (length === 0) continue;
    const last = merged.at(-1);
    if (last !== undefined && last.isHole === run.isHole && last.isZero === run.isZero) {
      merged[merged.length - 1] = { ...last, length: last.length + length };
    } else if (merged.length === limits.runsMax) break;
    else merged.push({ length, isHole: run.isHole, isZero: run.isZero });
    left -= length;
  }
  return merged;
}

function putChunk(view: DataView, at: number, cookie: Cookie, chunk: Chunk): void {
  view.setUint32(at, CHUNK_MAGIC);
  view.setUint16(at + 4, chunk.isLast ? CHUNK_FLAG_DONE : 0);
  view.setUint16(at + 6, chunk.type);
  view.setUint32(at + 8, cookie.cookieHigh);
  view.setUint32(at + 12, cookie.cookieLow);
  view.setUint32(at + 16, chunk.length);
}
