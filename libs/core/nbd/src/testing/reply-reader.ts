import { utf8Text, viewOf } from '@tidemark/base';
import {
  CHUNK_HEADER_BYTES, CHUNK_MAGIC, ChunkType, getOffset, OPTION_REPLY_MAGIC_HIGH, OPTION_REPLY_MAGIC_LOW, SIMPLE_REPLY_BYTES, SIMPLE_REPLY_MAGIC,
} from '../wire.js';

export type ServerMessage =
  | { readonly kind: 'option'; readonly option: number; readonly type: number; readonly body: Uint8Array }
  | { readonly kind: 'simple'; readonly cookie: number; readonly errno: number; readonly bytes: Uint8Array }
  | { readonly kind: 'data'; readonly cookie: number; readonly isLast: boolean; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'hole'; readonly cookie: number; readonly isLast: boolean; readonly offset: number; readonly length: number }
  | { readonly kind: 'status'; readonly cookie: number; readonly runs: readonly (readonly [length: number, state: number])[] }
  | { readonly kind: 'error'; readonly cookie: number; readonly errno: number; readonly message: string };

/**
 * Splits what a server sent after its 18 bytes of greeting; a message that has not wholly arrived is left out. `readLengths`: bytes
 * that follow a simple reply to that cookie.
 */
export function serverMessages(bytes: Uint8Array, readLengths: ReadonlyMap<number, number> = new Map()): ServerMessage[] {
  const messages: ServerMessage[] = [];
  const view = viewOf(bytes);
  for (let at = 0; at + SIMPLE_REPLY_BYTES <= bytes.length; ) {
    const length = messageBytes(view, at, readLengths);
    if (at + length > bytes.length) break;
    messages.push(messageOf(bytes.slice(at, at + length)));
    at += length;
  }
  return messages;
}

function messageBytes(view: DataView, at: number, readLengths: ReadonlyMap<number, number>): number {
  const magic = view.getUint32(at);
  if (magic === SIMPLE_REPLY_MAGIC) {
    return SIMPLE_REPLY_BYTES + (view.getUint32(at + 4) === 0 ? (readLengths.get(getOffset(view, at + 8)) ?? 0) : 0);
  }
  const isOption = magic === OPTION_REPLY_MAGIC_HIGH && view.getUint32(at + 4) === OPTION_REPLY_MAGIC_LOW;
  if (!isOption && magic !== CHUNK_MAGIC) throw new Error(`no message begins at ${String(at)} of ${String(view.byteLength)}`);
  return at + CHUNK_HEADER_BYTES <= view.byteLength ? CHUNK_HEADER_BYTES + view.getUint32(at + 16) : Infinity;
}

function messageOf(message: Uint8Array): ServerMessage {
  const view = viewOf(message);
  switch (view.getUint32(0)) {
    case SIMPLE_REPLY_MAGIC:
      return { kind: 'simple', cookie: getOffset(view, 8), errno: view.getUint32(4), bytes: message.slice(SIMPLE_REPLY_BYTES) };
    case CHUNK_MAGIC:
      return chunkOf(message);
    default:
      return { kind: 'option', option: view.getUint32(8), type: view.getUint32(12), body: message.slice(CHUNK_HEADER_BYTES) };
  }
}

function chunkOf(chunk: Uint8Array): ServerMessage {
  const view = viewOf(chunk);
  const type = view.getUint16(6);
  const isLast = (view.getUint16(4) & 1) !== 0;
  const cookie = getOffset(view, 8);
  const at = CHUNK_HEADER_BYTES;
  switch (type) {
    case ChunkType.offsetData:
      return { kind: 'data', cookie, isLast, offset: getOffset(view, at), bytes: chunk.slice(at + 8) };
    case ChunkType.offsetHole:
      return { kind: 'hole', cookie, isLast, offset: getOffset(view, at), length: view.getUint32(at + 8) };
    case ChunkType.blockStatus: {
      const runs: [number, number][] = [];
      for (let run = at + 4; run < chunk.length; run += 8) runs.push([view.getUint32(run), view.getUint32(run + 4)]);
      return { kind: 'status', cookie, runs };
    }
    case ChunkType.error:
      return { kind: 'error', cookie, errno: view.getUint32(at), message: utf8Text(chunk.slice(at + 6)) };
    default:
      throw new Error(`chunk type ${String(type)}`);
  }
}
