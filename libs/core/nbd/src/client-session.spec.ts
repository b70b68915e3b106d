import { describe, expect, it } from '@jest/globals';
import { ProtocolError, viewOf } from '@tidemark/base';
import { NbdClientSession } from './client-session.js';
import type { NbdClientEvent, NbdClientRequest } from './client-types.js';
import { CHUNK_BYTES_MAX, OPTION_REPLIES_MAX } from './limits.js';
import { optionReply } from './option-replies.js';
import { blockStatusReply, errorReply, offsetHole, putOffsetData, simpleReply } from './replies.js';
import { joined, u32 } from './testing/client-bytes.js';
import { OptionReply, OptionType, setOffset, TransmissionFlag } from './wire.js';

const SIZE = 1024 * 1024;
const FLAGS = TransmissionFlag.hasFlags | TransmissionFlag.sendFlush | TransmissionFlag.sendFua | TransmissionFlag.sendWriteZeroes;

const greetingBytes = (flags = 3): Uint8Array => joined([new TextEncoder().encode('NBDMAGICIHAVEOPT'), new Uint8Array([0, flags])]);
const ack = (option: number): Uint8Array => optionReply(option, OptionReply.ack);
const context = (id = 7, name = 'base:allocation'): Uint8Array => optionReply(OptionType.setMetaContext, OptionReply.metaContext, joined([u32(id), new TextEncoder().encode(name)]));

function exportInfo({ size = SIZE, flags = FLAGS }: { size?: number; flags?: number } = {}): Uint8Array {
  const body = new Uint8Array(12);
  setOffset(viewOf(body), 2, size);
  viewOf(body).setUint16(10, flags);
  return optionReply(OptionType.go, OptionReply.info, body);
}

function blockInfo(minimum: number, maximum: number): Uint8Array {
  const body = new Uint8Array(14);
  const view = viewOf(body);
  view.setUint16(0, 3);
  view.setUint32(2, minimum);
  view.setUint32(6, 4096);
  view.setUint32(10, maximum);
  return optionReply(OptionType.go, OptionReply.info, body);
}

const usual = (): Uint8Array[] => [
  greetingBytes(), ack(OptionType.structuredReply), context(), ack(OptionType.setMetaContext), exportInfo(), blockInfo(1, 0xffff_ffff), ack(OptionType.go),
];

/** Feeds everything, and gives all events but the bytes to send. */
function events(session: NbdClientSession, parts: readonly Uint8Array[]): NbdClientEvent[] {
  const found: NbdClientEvent[] = [];
  for (const part of parts) {
    session.feed(part);
    for (let event = session.next(); event !== undefined; event = session.next()) if (event.kind !== 'send') found.push(event);
  }
  return found;
}

function ready(parts = usual()): NbdClientSession {
  const session = new NbdClientSession('disk');
  expect(events(session, parts)).toMatchObject([{ kind: 'ready' }]);
  return session;
}

const cookieOf = (cookie: number): { cookieHigh: number; cookieLow: number } => ({ cookieHigh: 0, cookieLow: cookie });

function data(cookie: number, part: { offset: number; bytes: Uint8Array; isLast: boolean }): Uint8Array {
  const header = new Uint8Array(28);
  putOffsetData(viewOf(header), 0, { cookie: cookieOf(cookie), offset: part.offset, length: part.bytes.length, isLast: part.isLast });
  return joined([header, part.bytes]);
}

const read = (offset: number, length: number): Extract<NbdClientRequest, { kind: 'read' }> => ({ kind: 'read', offset, target: new Uint8Array(length).fill(0xa5) });

/** The code of the ProtocolError that these bytes cause. */
function brokenBy(session: NbdClientSession, bytes: readonly Uint8Array[]): string {
  try {
    events(session, bytes);
  } catch (error) {
    if (error instanceof ProtocolError) return error.code;
    throw error;
  }
  return 'nothing';
}

describe('negotiation', () => {
  it('learns what the export can', () => {
    expect(events(new NbdClientSession('disk'), usual())).toEqual([{
      kind: 'ready',
      facts: {
        sizeBytes: SIZE, isReadOnly: false, canFlush: true, canFua: true, canTrim: false, canWriteZeroes: true, canFastZero: false, blockBytesMin: 1,
        payloadBytesMax: 32 * 1024 * 1024, isStructured: true, hasAllocation: true,
      },
    }]);
  });

  it('does without structured replies and contexts where the server has none', () => {
    const unsupported = (option: number): Uint8Array => optionReply(option, OptionReply.errUnsupported);
    const parts = [greetingBytes(), unsupported(OptionType.structuredReply), exportInfo(), ack(OptionType.go)];
    expect(events(new NbdClientSession('disk'), parts)).toMatchObject([{ facts: { isStructured: false, hasAllocation: false } }]);
    const noContext = [greetingBytes(), ack(OptionType.structuredReply), unsupported(OptionType.setMetaContext), exportInfo(), ack(OptionType.go)];
    expect(events(new NbdClientSession('disk'), noContext)).toMatchObject([{ facts: { isStructured: true, hasAllocation: false } }]);
  });

  it('takes a block size as it is: requests are whole multiples of it', () => {
    const parts = [...usual().slice(0, 5), blockInfo(4096, 1_000_000), ack(OptionType.go)];
    expect(events(new NbdClientSession('disk'), parts)).toMatchObject([{ facts: { blockBytesMin: 4096, payloadBytesMax: 999_424 } }]);
  });

  it('says why it was refused', () => {
    const refused = optionReply(OptionType.go, OptionReply.errUnknown, new TextEncoder().encode('no disk here'));
    expect(events(new NbdClientSession('disk'), [...usual().slice(0, 4), refused])).toEqual([
      { kind: 'refused', message: "the server has no export 'disk': no disk here", isMissing: true },
    ]);
  });

  const cut = usual();
  it.each<[string, string, readonly Uint8Array[]]>([
    ['another greeting', 'PROTOCOL_MAGIC', [new Uint8Array(18)]],
    ['an old server', 'PROTOCOL_VERSION', [greetingBytes(0)]],
    ['a reply to another option', 'PROTOCOL_ORDER', [greetingBytes(), ack(OptionType.go)]],
    ['a reply without magic', 'PROTOCOL_MAGIC', [greetingBytes(), new Uint8Array(20)]],
    ['an oversize reply', 'PROTOCOL_LIMIT', [greetingBytes(), optionReply(OptionType.structuredReply, OptionReply.ack, new Uint8Array(20_000))]],
    ['replies without end', 'PROTOCOL_LIMIT', [...cut.slice(0, 4), ...Array.from({ length: OPTION_REPLIES_MAX + 1 }, () => exportInfo())]],
    ['two ids for one context', 'PROTOCOL_ORDER', [greetingBytes(), ack(OptionType.structuredReply), context(1), context(2)]],
    ['no size', 'PROTOCOL_ORDER', [...cut.slice(0, 4), ack(OptionType.go)]],
    ['a size above 2^53', 'PROTOCOL_LIMIT', [...cut.slice(0, 4), optionReply(OptionType.go, OptionReply.info, new Uint8Array([0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 1])), ack(OptionType.go)]],
    ['flags without their first bit', 'PROTOCOL_LAYOUT', [...cut.slice(0, 4), exportInfo({ flags: 4 }), ack(OptionType.go)]],
    ['a short export info', 'PROTOCOL_LAYOUT', [...cut.slice(0, 4), optionReply(OptionType.go, OptionReply.info, new Uint8Array(2))]],
    ['a block size that is no power of two', 'PROTOCOL_LIMIT', [...cut.slice(0, 4), blockInfo(3000, 2 ** 20)]],
    ['a block size of 0', 'PROTOCOL_LIMIT', [...cut.slice(0, 4), blockInfo(0, 2 ** 20)]],
    ['a largest payload below the block', 'PROTOCOL_LIMIT', [...cut.slice(0, 4), blockInfo(4096, 1024)]],
  ])('ends at %s', (_, code, bytes) => {
    expect(brokenBy(new NbdClientSession('disk'), bytes)).toBe(code);
  });
});

describe('TLS', () => {
  const wanting = (): NbdClientSession => new NbdClientSession('disk', { isTlsWanted: true });
  /** Types of the options that were sent. */
  function asked(session: NbdClientSession, parts: readonly Uint8Array[]): { options: number[]; others: NbdClientEvent[] } {
    const found: { options: number[]; others: NbdClientEvent[] } = { options: [], others: [] };
    for (const part of parts) {
      session.feed(part);
      for (let event = session.next(); event !== undefined; event = session.next()) {
        if (event.kind !== 'send') found.others.push(event);
        else if (event.bytes.length >= 16) found.options.push(viewOf(event.bytes).getUint32(8));
      }
    }
    return found;
  }

  it('comes before anything is said of the export', () => {
    const session = wanting();
    expect(asked(session, [greetingBytes(), ack(OptionType.startTls)])).toEqual({ options: [OptionType.startTls], others: [{ kind: 'startTls' }] });
    session.secured();
    const [, ...inside] = usual();
    expect(asked(session, [new Uint8Array(0), ...inside])).toMatchObject({ options: [OptionType.structuredReply, OptionType.setMetaContext, OptionType.go], others: [{ kind: 'ready' }] });
  });

  it('or nothing: a server without it is refused', () => {
    const refused = optionReply(OptionType.startTls, OptionReply.errUnsupported, new TextEncoder().encode('no certificate'));
    expect(asked(wanting(), [greetingBytes(), refused])).toEqual({
      options: [OptionType.startTls], others: [{ kind: 'refused', message: expect.stringMatching(/no TLS.*no certificate/), isMissing: false }],
    });
  });

  it('ends for bytes in clear text behind its answer, and for another answer', () => {
    const injected = joined([ack(OptionType.startTls), ack(OptionType.structuredReply)]);
    expect(brokenBy(wanting(), [greetingBytes(), injected])).toBe('PROTOCOL_ORDER');
    expect(brokenBy(wanting(), [greetingBytes(), optionReply(OptionType.startTls, OptionReply.info, new Uint8Array(2))])).toBe('PROTOCOL_ORDER');
  });
});

describe('requests', () => {
  it('puts a read together from data and holes, in any order, cut anywhere', () => {
    const session = ready();
    const request = read(1000, 300);
    const { cookie } = session.request(request);
    const reply = joined([
      data(cookie, { offset: 1200, bytes: new Uint8Array(100).fill(2), isLast: false }),
      offsetHole({ cookie: cookieOf(cookie), offset: 1100, length: 100, isLast: false }),
      data(cookie, { offset: 1000, bytes: new Uint8Array(100).fill(1), isLast: true }),
    ]);
    const found = events(session, Array.from(reply, (byte) => new Uint8Array([byte])));
    expect(found).toEqual([{ kind: 'done', cookie, errno: 0, message: '', runs: [] }]);
    expect([request.target[0], request.target[99], request.target[100], request.target[199], request.target[200], request.target[299]]).toEqual([1, 1, 0, 0, 2, 2]);
    expect(session.inFlightCount).toBe(0);
  });

  it('answers replies in any order, and errors with their words', () => {
    const session = ready();
    const flush = session.request({ kind: 'flush' });
    const write = session.request({ kind: 'write', offset: 0, source: new Uint8Array(10), isFua: true });
    const wrong = session.request(read(0, 10));
    const found = events(session, [
      errorReply({ ...cookieOf(wrong.cookie), isStructured: true }, 5, 'bad sector'), simpleReply(cookieOf(write.cookie), 0), simpleReply(cookieOf(flush.cookie), 28),
    ]);
    expect(found).toMatchObject([{ cookie: wrong.cookie, errno: 5, message: 'bad sector' }, { cookie: write.cookie, errno: 0 }, { cookie: flush.cookie, errno: 28 }]);
  });

  it('cuts block status to what was asked', () => {
    const session = ready();
    const { cookie } = session.request({ kind: 'status', offset: 0, length: 10_000 });
    const reply = blockStatusReply(cookieOf(cookie), [{ length: 4096, isHole: true, isZero: true }, { length: 100_000, isHole: false, isZero: false }]);
    viewOf(reply).setUint32(20, 7);
    expect(events(session, [reply])).toMatchObject([{ runs: [{ length: 4096, isHole: true, isZero: true }, { length: 5904, isHole: false, isZero: false }] }]);
  });

  const tooLong = new Uint8Array(20);
  viewOf(tooLong).setUint32(0, 0x668e_33ef);
  viewOf(tooLong).setUint16(6, 5);
  viewOf(tooLong).setUint32(12, 1);
  viewOf(tooLong).setUint32(16, CHUNK_BYTES_MAX + 1);
  const piece = (offset: number, length: number, isLast: boolean): Uint8Array => data(1, { offset, bytes: new Uint8Array(length), isLast });
  it.each<[string, string, readonly Uint8Array[]]>([
    ['an unknown cookie', 'PROTOCOL_ORDER', [simpleReply(cookieOf(99), 0)]],
    ['no magic', 'PROTOCOL_MAGIC', [new Uint8Array(20)]],
    ['data before the read', 'PROTOCOL_LIMIT', [piece(999, 10, true)]],
    ['data beyond the read', 'PROTOCOL_LIMIT', [piece(1000, 301, true)]],
    ['a hole beyond the read', 'PROTOCOL_LIMIT', [offsetHole({ cookie: cookieOf(1), offset: 1000, length: 301, isLast: true })]],
    ['bytes twice', 'PROTOCOL_LAYOUT', [piece(1000, 200, false), piece(1100, 200, true)]],
    ['bytes missing', 'PROTOCOL_LAYOUT', [piece(1000, 100, false), piece(1200, 100, true)]],
    ['bytes missing at the end', 'PROTOCOL_LAYOUT', [piece(1000, 100, true)]],
    ['success without any data', 'PROTOCOL_LAYOUT', [joined([new Uint8Array([0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 0]), new Uint8Array([0, 0, 0, 0, 0, 0, 0, 1]), u32(0)])]],
    ['a simple success for a structured read', 'PROTOCOL_ORDER', [simpleReply(cookieOf(1), 0)]],
    ['block status that nobody asked for', 'PROTOCOL_ORDER', [blockStatusReply(cookieOf(1), [{ length: 1, isHole: false, isZero: false }])]],
    ['an oversize chunk', 'PROTOCOL_LIMIT', [tooLong]],
  ])('ends at %s', (_, code, bytes) => {
    const session = ready();
    session.request(read(1000, 300));
    expect(brokenBy(session, bytes)).toBe(code);
    expect(brokenBy(session, [new Uint8Array(0)])).toBe(code);
  });

  it.each<[string, readonly { length: number; isHole: boolean; isZero: boolean }[], number]>([
    ['of another context', [{ length: 10, isHole: false, isZero: false }], 8],
    ['with an empty run', [{ length: 0, isHole: false, isZero: false }], 7],
    ['beyond what was asked', [{ length: 10_000, isHole: false, isZero: false }, { length: 1, isHole: false, isZero: false }], 7],
  ])('ends at block status %s', (_, runs, contextId) => {
    const session = ready();
    const { cookie } = session.request({ kind: 'status', offset: 0, length: 10_000 });
    const reply = blockStatusReply(cookieOf(cookie), runs);
    viewOf(reply).setUint32(20, contextId);
    expect(brokenBy(session, [reply])).toBe('PROTOCOL_LAYOUT');
  });
});
