import { assert, ProtocolError, viewOf } from '@tidemark/base';
import { ClientHandshake } from './client-handshake.js';
import { ClientReplies } from './client-replies.js';
import type { NbdClientEvent, NbdClientRequest, NbdExportFacts } from './client-types.js';
import { Inbox } from './inbox.js';
import { CommandFlag, CommandType, REQUEST_BYTES, REQUEST_MAGIC, setOffset } from './wire.js';

/**
 * The client's side of one NBD connection: bytes in, events out; no I/O and no time. Reads arrive straight in the memory of whoever asked,
 * so that a session holds no more than the chunk that was fed last.
 */
export class NbdClientSession {
  readonly #inbox = new Inbox();
  readonly #handshake: ClientHandshake;
  #replies: ClientReplies | undefined;
  #nextCookie = 1;
  #broken: ProtocolError | undefined;
  #isEnded = false;

  /** `isTlsWanted`: nothing is asked but STARTTLS until {@link secured}; a server that has none is refused. */
  constructor(exportName: string, { isTlsWanted = false }: { readonly isTlsWanted?: boolean } = {}) {
    this.#handshake = new ClientHandshake(exportName, { isTlsWanted });
  }

  /** After `startTls`: bytes that are fed from now on came through TLS. */
  secured(): void {
    this.#handshake.secured();
  }

  /** Requests that are not answered. */
  get inFlightCount(): number {
    return this.#replies?.inFlightCount ?? 0;
  }

  /** The request's header; a write's `source` follows it. Only after `ready`, inside the export, within its limits. */
  request(request: NbdClientRequest): { readonly cookie: number; readonly header: Uint8Array } {
    assert(this.#replies !== undefined, 'request before the negotiation has ended');
    const cookie = this.#nextCookie;
    this.#nextCookie += 1;
    this.#replies.expect(cookie, request);
    return { cookie, header: requestHeader(cookie, request) };
  }

  /** Takes over bytes of the server, which must not change any more. */
  feed(chunk: Uint8Array): void {
    if (!this.#isEnded) this.#inbox.push(chunk);
  }

  /** The next event, or `undefined` until more is fed. Throws {@link ProtocolError} on bytes that no server may send, then and ever after. */
  next(): NbdClientEvent | undefined {
    if (this.#broken !== undefined) throw this.#broken;
    try {
      return this.#next();
    } catch (error) {
      if (error instanceof ProtocolError) this.#broken = error;
      throw error;
    }
  }

  #next(): NbdClientEvent | undefined {
    if (this.#isEnded) return undefined;
    if (this.#replies !== undefined) return this.#replies.next(this.#inbox);
    while (this.#handshake.outgoing.length === 0) if (!this.#handshake.step(this.#inbox)) return undefined;
    const event = this.#handshake.outgoing.shift();
    if (event?.kind === 'ready') this.#begin(event.facts);
    if (event?.kind === 'refused') this.#isEnded = true;
    return event;
  }

  #begin(facts: NbdExportFacts): void {
    this.#replies = new ClientReplies({ isStructured: facts.isStructured, contextId: this.#handshake.contextId });
  }
}

/** Says goodbye: the server answers what is in flight, if it is polite, and closes. */
export function disconnectRequest(): Uint8Array {
  const bytes = new Uint8Array(REQUEST_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, REQUEST_MAGIC);
  view.setUint16(6, CommandType.disconnect);
  return bytes;
}

function requestHeader(cookie: number, request: NbdClientRequest): Uint8Array {
  const bytes = new Uint8Array(REQUEST_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, REQUEST_MAGIC);
  setOffset(view, 8, cookie);
  switch (request.kind) {
    case 'read':
      return put(view, { type: CommandType.read, flags: 0, offset: request.offset, length: request.target.length });
    case 'write':
      return put(view, { type: CommandType.write, flags: request.isFua ? CommandFlag.fua : 0, offset: request.offset, length: request.source.length });
    case 'writeZeroes': {
      const { isFua, mayUnmap, isFastOnly, offset, length } = request;
      const flags = (isFua ? CommandFlag.fua : 0) | (mayUnmap ? 0 : CommandFlag.noHole) | (isFastOnly ? CommandFlag.fastZero : 0);
      return put(view, { type: CommandType.writeZeroes, flags, offset, length });
    }
    case 'flush':
      return put(view, { type: CommandType.flush, flags: 0, offset: 0, length: 0 });
    case 'status':
      return put(view, { type: CommandType.blockStatus, flags: 0, offset: request.offset, length: request.length });
  }
}

function put(view: DataView, fields: { readonly type: number; readonly flags: number; readonly offset: number; readonly length: number }): Uint8Array {
  view.setUint16(4, fields.flags);
  view.setUint16(6, fields.type);
  setOffset(view, 16, fields.offset);
  view.setUint32(24, fields.length);
  return new Uint8Array(view.buffer);
}
