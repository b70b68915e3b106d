import { assert, ProtocolError, viewOf } from '@tidemark/base';
import { textOf } from './client-handshake.js';
import type { NbdClientEvent, NbdClientRequest, NbdStatusRun } from './client-types.js';
import type { Inbox } from './inbox.js';
import { CHUNK_BYTES_MAX, READ_PIECES_MAX } from './limits.js';
import { BlockState, CHUNK_FLAG_DONE, CHUNK_HEADER_BYTES, CHUNK_MAGIC, ChunkType, getOffset, SIMPLE_REPLY_BYTES, SIMPLE_REPLY_MAGIC } from './wire.js';

interface Expected {
  readonly request: NbdClientRequest;
  /** Of a read: what has come, as [start, end) in its target. */
  readonly pieces: (readonly [start: number, end: number])[];
  runs: readonly NbdStatusRun[];
  errno: number;
  message: string;
}

interface Chunk {
  readonly cookie: number;
  readonly expected: Expected;
  readonly type: number;
  readonly isLast: boolean;
  /** Bytes after the header. */
  readonly length: number;
}

/** Bytes that are on their way into a read's target. */
interface Filling {
  readonly cookie: number;
  readonly expected: Expected;
  readonly into: Uint8Array;
  readonly isLast: boolean;
  filled: number;
}

type Done = Extract<NbdClientEvent, { kind: 'done' }>;

/** What a server answers to requests. A reply must name a request in flight, stay inside it, and cover all of it, each byte once. */
export class ClientReplies {
  readonly #expected = new Map<number, Expected>();
  #chunk: Chunk | undefined;
  #filling: Filling | undefined;

  constructor(private readonly agreed: { readonly isStructured: boolean; readonly contextId: number | undefined }) {}

  get inFlightCount(): number {
    return this.#expected.size;
  }

  expect(cookie: number, request: NbdClientRequest): void {
    this.#expected.set(cookie, { request, pieces: [], runs: [], errno: 0, message: '' });
  }

  next(inbox: Inbox): Done | undefined {
    for (;;) {
      const progress = this.#step(inbox);
      if (progress === 'stuck') return undefined;
      if (progress !== 'on') return progress;
    }
  }

  #step(inbox: Inbox): Done | 'on' | 'stuck' {
    if (this.#filling !== undefined) return this.#fill(inbox, this.#filling);
    if (this.#chunk !== undefined) return this.#takeChunk(inbox, this.#chunk);
    if (inbox.available < SIMPLE_REPLY_BYTES) return 'stuck';
    // A simple reply has 16 bytes, a chunk's header 20: the first four say which it is.
    const magic = viewOf(inbox.peek(4)).getUint32(0);
    if (magic === SIMPLE_REPLY_MAGIC) return this.#takeSimple(viewOf(inbox.take(SIMPLE_REPLY_BYTES)));
    if (magic !== CHUNK_MAGIC || !this.agreed.isStructured) throw new ProtocolError('PROTOCOL_MAGIC', 'reply without its magic');
    if (inbox.available < CHUNK_HEADER_BYTES) return 'stuck';
    this.#chunk = this.#chunkOf(viewOf(inbox.take(CHUNK_HEADER_BYTES)));
    return 'on';
  }

  #expectedAt(view: DataView): readonly [number, Expected] {
    const cookie = getOffset(view, 8);
    const expected = this.#expected.get(cookie);
    if (expected === undefined) throw new ProtocolError('PROTOCOL_ORDER', 'reply to a request that is not in flight');
    return [cookie, expected];
  }

  #takeSimple(view: DataView): Done | 'on' {
    const errno = view.getUint32(4);
    const [cookie, expected] = this.#expectedAt(view);
    if (expected.pieces.length > 0 || expected.runs.length > 0) throw new ProtocolError('PROTOCOL_ORDER', 'simple reply after chunks');
    expected.errno = errno;
    const { request } = expected;
    if (errno !== 0) return this.#end(cookie, expected);
    if (request.kind === 'status') throw new ProtocolError('PROTOCOL_ORDER', 'block status without runs');
    if (request.kind !== 'read') return this.#end(cookie, expected);
    if (this.agreed.isStructured) throw new ProtocolError('PROTOCOL_ORDER', 'a read must have a structured reply');
    this.#fillFrom({ cookie, expected, start: 0, length: request.target.length, isLast: true });
    return 'on';
  }

  #chunkOf(view: DataView): Chunk {
    const [cookie, expected] = this.#expectedAt(view);
    const chunk = { cookie, expected, type: view.getUint16(6), isLast: (view.getUint16(4) & CHUNK_FLAG_DONE) !== 0, length: view.getUint32(16) };
    // Data goes into the target, which bounds it; everything else is taken as a whole.
    if (chunk.type !== ChunkType.offsetData && chunk.length > CHUNK_BYTES_MAX) throw new ProtocolError('PROTOCOL_LIMIT', `chunk of ${chunk.length} bytes`);
    return chunk;
  }

  #takeChunk(inbox: Inbox, chunk: Chunk): Done | 'on' | 'stuck' {
    const bytes = chunk.type === ChunkType.offsetData ? 8 : chunk.length;
    if (inbox.available < bytes) return 'stuck';
    this.#chunk = undefined;
    const body = inbox.take(bytes);
    switch (chunk.type) {
      case ChunkType.none:
        if (!chunk.isLast || chunk.length !== 0) throw new ProtocolError('PROTOCOL_LAYOUT', 'empty chunk that ends nothing');
        return this.#end(chunk.cookie, chunk.expected);
      case ChunkType.offsetData:
        return this.#takeData(chunk, body);
      case ChunkType.offsetHole:
        return this.#takeHole(chunk, body);
      case ChunkType.blockStatus:
        return this.#takeStatus(chunk, body);
      default:
        return this.#takeError(chunk, body);
    }
  }

  #takeData(chunk: Chunk, body: Uint8Array): 'on' {
    if (chunk.length <= 8) throw new ProtocolError('PROTOCOL_LAYOUT', 'data chunk without data');
    const { cookie, expected, isLast } = chunk;
    const start = startIn(expected.request, getOffset(viewOf(body), 0), chunk.length - 8);
    this.#fillFrom({ cookie, expected, start, length: chunk.length - 8, isLast });
    return 'on';
  }

  #takeHole(chunk: Chunk, body: Uint8Array): Done | 'on' {
    if (body.length !== 12) throw new ProtocolError('PROTOCOL_LAYOUT', `hole chunk of ${body.length} bytes`);
    const view = viewOf(body);
    const { expected } = chunk;
    const length = view.getUint32(8);
    const start = startIn(expected.request, getOffset(view, 0), length);
    assert(expected.request.kind === 'read', 'checked by startIn');
    expected.request.target.fill(0, start, start + length);
    return this.#tookPiece(chunk, [start, start + length]);
  }

  #takeStatus(chunk: Chunk, body: Uint8Array): Done | 'on' {
    const { expected } = chunk;
    if (expected.request.kind !== 'status' || expected.runs.length > 0) throw new ProtocolError('PROTOCOL_ORDER', 'block status that nobody asked for');
    if (body.length < 12 || body.length % 8 !== 4) throw new ProtocolError('PROTOCOL_LAYOUT', `block status of ${body.length} bytes`);
    const view = viewOf(body);
    if (view.getUint32(0) !== this.agreed.contextId) throw new ProtocolError('PROTOCOL_LAYOUT', 'block status of another context');
    expected.runs = runsOf(view, expected.request.length);
    return chunk.isLast ? this.#end(chunk.cookie, expected) : 'on';
  }

  /** Error types have their top bit set, known or not; unknown types of other chunks cannot be skipped safely. */
  #takeError(chunk: Chunk, body: Uint8Array): Done | 'on' {
    if ((chunk.type & 0x8000) === 0) throw new ProtocolError('PROTOCOL_KIND', `chunk of type ${chunk.type}`);
    if (body.length < 6) throw new ProtocolError('PROTOCOL_LAYOUT', `error chunk of ${body.length} bytes`);
    const view = viewOf(body);
    const textBytes = view.getUint16(4);
    if (6 + textBytes > body.length) throw new ProtocolError('PROTOCOL_LAYOUT', 'error text beyond its chunk');
    const { expected } = chunk;
    const errno = view.getUint32(0);
    if (errno === 0) throw new ProtocolError('PROTOCOL_LAYOUT', 'error chunk without an error');
    expected.errno ||= errno;
    expected.message ||= textOf(body.subarray(6, 6 + Math.min(textBytes, 1024)));
    return chunk.isLast ? this.#end(chunk.cookie, expected) : 'on';
  }

  #fillFrom(piece: { readonly cookie: number; readonly expected: Expected; readonly start: number; readonly length: number; readonly isLast: boolean }): void {
    const { cookie, expected, start, length, isLast } = piece;
    assert(expected.request.kind === 'read', 'only reads have data');
    expected.pieces.push([start, start + length]);
    this.#filling = { cookie, expected, into: expected.request.target.subarray(start, start + length), isLast, filled: 0 };
  }

  #fill(inbox: Inbox, filling: Filling): Done | 'on' | 'stuck' {
    filling.filled += inbox.takeInto(filling.into, filling.filled);
    if (filling.filled < filling.into.length) return 'stuck';
    this.#filling = undefined;
    const { expected, cookie, isLast } = filling;
    checkPieceCount(expected);
    return isLast ? this.#end(cookie, expected) : 'on';
  }

  #tookPiece(chunk: Chunk, piece: readonly [number, number]): Done | 'on' {
    chunk.expected.pieces.push(piece);
    checkPieceCount(chunk.expected);
    return chunk.isLast ? this.#end(chunk.cookie, chunk.expected) : 'on';
  }

  #end(cookie: number, expected: Expected): Done {
    this.#expected.delete(cookie);
    const { request, errno, message, runs } = expected;
    if (errno === 0 && request.kind === 'read') checkWhole(expected.pieces, request.target.length);
    if (errno === 0 && request.kind === 'status' && runs.length === 0) throw new ProtocolError('PROTOCOL_ORDER', 'block status without runs');
    return { kind: 'done', cookie, errno, message, runs };
  }
}

function checkPieceCount({ pieces }: Expected): void {
  if (pieces.length > READ_PIECES_MAX) throw new ProtocolError('PROTOCOL_LIMIT', 'a read in too many pieces');
}

/** Where a chunk for `offset` lies in the target of its read. */
function startIn(request: NbdClientRequest, offset: number, length: number): number {
  if (request.kind !== 'read') throw new ProtocolError('PROTOCOL_ORDER', 'data that nobody asked for');
  const start = offset - request.offset;
  const isInside = length > 0 && start >= 0 && start + length <= request.target.length;
  if (!isInside) throw new ProtocolError('PROTOCOL_LIMIT', `${length} bytes at ${offset} are outside the read`);
  return start;
}

/** Every byte came once: memory that nobody filled must never be taken for the volume's. */
function checkWhole(pieces: readonly (readonly [number, number])[], length: number): void {
  const ordered = pieces.length > 1 ? pieces.toSorted((a, b) => a[0] - b[0]) : pieces;
  let at = 0;
  for (const [start, end] of ordered) {
    if (start !== at) throw new ProtocolError('PROTOCOL_LAYOUT', 'a read that is not whole, or has bytes twice');
    at = end;
  }
  if (at !== length) throw new ProtocolError('PROTOCOL_LAYOUT', `${at} bytes of a read of ${length}`);
}

/** Runs as far as they were asked for; the last one may go on. */
function runsOf(view: DataView, length: number): NbdStatusRun[] {
  const runs: NbdStatusRun[] = [];
  let left = length;
  for (let at = 4; at < view.byteLength; at += 8) {
    const bytes = view.getUint32(at);
    if (bytes === 0) throw new ProtocolError('PROTOCOL_LAYOUT', 'block status with an empty run');
    if (left === 0) throw new ProtocolError('PROTOCOL_LAYOUT', 'block status beyond what was asked');
    const flags = view.getUint32(at + 4);
    const taken = Math.min(bytes, left);
    runs.push({ length: taken, isHole: (flags & BlockState.hole) !== 0, isZero: (flags & BlockState.zero) !== 0 });
    left -= taken;
  }
  return runs;
}
