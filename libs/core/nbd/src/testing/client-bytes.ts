import { utf8Bytes, viewOf } from '@tidemark/base';
import { OPTION_MAGIC_HIGH, OPTION_MAGIC_LOW, OptionType, REQUEST_MAGIC, setOffset } from '../wire.js';

/** What a client says, written down independently of the server's decoder: for tests. */

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const u16 = (value: number): Uint8Array => new Uint8Array([value >>> 8, value & 255]);
export const u32 = (value: number): Uint8Array => new Uint8Array([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
const text = (value: string): Uint8Array => joined([u32(utf8Bytes(value).length), utf8Bytes(value)]);

/** Fixed newstyle, no padding. */
export const clientFlags = (flags = 3): Uint8Array => u32(flags);

export function option(type: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  return joined([u32(OPTION_MAGIC_HIGH), u32(OPTION_MAGIC_LOW), u32(type), u32(body.length), body]);
}

export const structuredReplyOption = (): Uint8Array => option(OptionType.structuredReply);
export const goOption = (name: string, infos: readonly number[] = []): Uint8Array =>
  option(OptionType.go, joined([text(name), u16(infos.length), ...infos.map(u16)]));
export const infoOption = (name: string, infos: readonly number[] = []): Uint8Array =>
  option(OptionType.info, joined([text(name), u16(infos.length), ...infos.map(u16)]));
export const contextOption = (type: number, name: string, queries: readonly string[]): Uint8Array =>
  option(type, joined([text(name), u32(queries.length), ...queries.map(text)]));

export interface ClientRequest {
  readonly type: number;
  readonly cookie: number;
  readonly offset?: number;
  readonly length?: number;
  readonly flags?: number;
  readonly payload?: Uint8Array;
}

export function requestBytes(request: ClientRequest): Uint8Array {
  const payload = request.payload ?? new Uint8Array(0);
  const bytes = new Uint8Array(28);
  const view = viewOf(bytes);
  view.setUint32(0, REQUEST_MAGIC);
  view.setUint16(4, request.flags ?? 0);
  view.setUint16(6, request.type);
  setOffset(view, 8, request.cookie);
  setOffset(view, 16, request.offset ?? 0);
  view.setUint32(24, request.length ?? payload.length);
  return joined([bytes, payload]);
}

/** The usual beginning: flags, structured replies, base:allocation, GO. */
export function usualHandshake(name: string): Uint8Array {
  return joined([
    clientFlags(), structuredReplyOption(), contextOption(OptionType.setMetaContext, name, ['base:allocation']), goOption(name),
  ]);
}
