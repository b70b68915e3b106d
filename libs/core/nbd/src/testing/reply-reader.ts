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

/** Splits what a server sent after its 18 bytes of greeting. `readLengths`: bytes that follow a simple reply to that cookie. */
export function serverMessages(bytes: Uint8Array, readLengths: ReadonlyMap<number, number> = new Map()): ServerMessage[] {
  const messages: ServerMessage[] = [];
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length; ) {
    const magic = view.getUint32(at);
    if (magic === OPTION_REPLY_MAGIC_HIGH && view.getUint32(at + 4) === OPTION_REPLY_MAGIC_LOW) {
      const length = view.getUint32(at + 16);
      messages.push({ kind: 'option', option: view.getUint32(at + 8), type: view.getUint32(at + 12), body: bytes.slice(at + 20, at + 20 + length) });
      at += 20 + length;
    } else if (magic === SIMPLE_REPLY_MAGIC) {
      const cookie = getOffset(view, at + 8);
      const errno = view.getUint32(at + 4);
      const length = errno === 0 ? (readLengths.get(cookie) ?? 0) : 0;
      messages.push({ kind: 'simple', cookie, errno, bytes: bytes.slice(at + SIMPLE_REPLY_BYTES, at + SIMPLE_REPLY_BYTES + length) });
      at += SIMPLE_REPLY_BYTES + length;
    } else if (magic === CHUNK_MAGIC) {
      const length = view.getUint32(at + 16);
      messages.push(chunkOf(bytes.slice(at, at + CHUNK_HEADER_BYTES + length)));
      at += CHUNK_HEADER_BYTES + length;
    } else throw new Error(`no message begins at ${String(at)} of ${String(bytes.length)}`);
  }
  return messages;
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
