import { describe, expect, it } from '@jest/globals';
import { ProtocolError, utf8Bytes } from '@tidemark/base';
import {
  checkInsideVolume, decodeAck, decodeControl, decodeHashReply, decodeHashRequest, decodeMarker, decodeOpen, decodeOpened, decodeRecords, decodeRefused, decodeSeal, decodeSyncStart, encodeAck,
  encodeHashReply, encodeHashRequest, encodeMarker, encodeOpen, encodeOpened, encodeRecordsFrame, encodeRefused, encodeSeal, encodeSyncStart, equalBlocks, FRAME_AT, FRAME_BODY_BYTES_MAX,
  FrameDecoder, FrameKind, RecordType, type CheckpointMarker, type OpenRequest, type StreamRecord,
} from './index.js';
import { joined } from './testing/arbitraries.js';
import { crc32cTable as crc32c } from '@tidemark/base/testing';

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof ProtocolError) return error.code;
    throw error;
  }
  return 'taken';
};
const feed = (bytes: Uint8Array, kinds?: ReadonlySet<FrameKind>): void =>
  new FrameDecoder(kinds === undefined ? { crc32c } : { crc32c, kinds }).feed(bytes, () => undefined);

const WRITE: StreamRecord = { type: RecordType.write, volume: 1, offset: 4096, length: 3, payload: Uint8Array.of(1, 2, 3) };
const ZEROES: StreamRecord = { type: RecordType.zeroes, volume: 0, offset: 8192, length: 4096, payload: undefined };
const frameBytes = (): Uint8Array => joined(encodeRecordsFrame({ stream: 7, incarnation: 3, epoch: 2, firstSeq: 10 }, [WRITE, ZEROES], crc32c));

/** A frame with one header field changed and its checksum made right again. */
function withField(at: number, bits: 8 | 16 | 32, value: number): Uint8Array {
  const bytes = frameBytes();
  const view = new DataView(bytes.buffer);
  if (bits === 8) view.setUint8(at, value);
  else if (bits === 16) view.setUint16(at, value, true);
  else view.setUint32(at, value, true);
  view.setUint32(0, crc32c(bytes.subarray(4, 64)), true);
  return bytes;
}

describe('CRC-32C', () => {
  it('gives the check value of RFC 3720', () => {
    expect(crc32c(utf8Bytes('123456789'))).toBe(0xe3069283);
    expect(crc32c(utf8Bytes('6789'), crc32c(utf8Bytes('12345')))).toBe(0xe3069283);
  });
});

describe('the frame header', () => {
  it.each([
    ['magic', FRAME_AT.magic, 32, 1, 'PROTOCOL_MAGIC'],
    ['version', FRAME_AT.version, 16, 2, 'PROTOCOL_VERSION'],
    ['kind', FRAME_AT.kind, 16, 99, 'PROTOCOL_KIND'],
    ['codec', FRAME_AT.codec, 8, 9, 'PROTOCOL_KIND'],
    ['reserved1', FRAME_AT.reserved1, 8, 1, 'PROTOCOL_RESERVED'],
    ['reserved2', FRAME_AT.reserved2, 16, 1, 'PROTOCOL_RESERVED'],
    ['reserved3', FRAME_AT.reserved3, 32, 1, 'PROTOCOL_RESERVED'],
    ['a body above the limit', FRAME_AT.bodyBytes, 32, FRAME_BODY_BYTES_MAX + 1, 'PROTOCOL_LIMIT'],
    ['raw bytes above the limit', FRAME_AT.rawBytes, 32, FRAME_BODY_BYTES_MAX + 1, 'PROTOCOL_LIMIT'],
    ['too many records', FRAME_AT.count, 32, 70_000, 'PROTOCOL_LIMIT'],
    ['a count that the numbers do not fit', FRAME_AT.count, 32, 1, 'PROTOCOL_LAYOUT'],
    ['a first seq above 2^53', FRAME_AT.firstSeq + 4, 32, 2 ** 21, 'PROTOCOL_LIMIT'],
    ['stream 0', FRAME_AT.stream, 32, 0, 'PROTOCOL_LAYOUT'],
    ['a record kind that carries no records', FRAME_AT.kind, 16, FrameKind.ack, 'PROTOCOL_LAYOUT'],
  ] as const)('refuses %s', (_, at, bits, value, code) => {
    expect(codeOf(() => feed(withField(at, bits, value)))).toBe(code);
  });

  it('is judged by its checksum before anything else', () => {
    const bytes = frameBytes();
    bytes[FRAME_AT.magic] = 0;
    expect(codeOf(() => feed(bytes))).toBe('PROTOCOL_CHECKSUM');
  });

  it('is refused before its body arrives, so nothing is allocated for it', () => {
    const announced = withField(FRAME_AT.bodyBytes, 32, 0xffff_ffff).subarray(0, 64);
    expect(codeOf(() => feed(announced))).toBe('PROTOCOL_LIMIT');
  });

  it('names the kind that a connection does not take', () => {
    expect(() => feed(frameBytes(), new Set([FrameKind.control]))).toThrow('kind 4 on a connection that does not take it');
  });

  it('stays broken after a damage', () => {
    const decoder = new FrameDecoder({ crc32c });
    const damaged = frameBytes();
    damaged[70] = 0xff;
    expect(codeOf(() => decoder.feed(damaged, () => undefined))).toBe('PROTOCOL_CHECKSUM');
    expect(codeOf(() => decoder.feed(frameBytes(), () => undefined))).toBe('PROTOCOL_CHECKSUM');
  });
});

describe('records', () => {
  it('must lie inside their volume', () => {
    expect(() => checkInsideVolume(WRITE, [8192, 4099])).not.toThrow();
    expect(codeOf(() => checkInsideVolume(WRITE, [8192, 4098]))).toBe('PROTOCOL_LIMIT');
    expect(codeOf(() => checkInsideVolume(WRITE, [8192]))).toBe('PROTOCOL_LIMIT');
  });

  it('are refused when decompression gave another length', () => {
    new FrameDecoder({ crc32c }).feed(frameBytes(), (header, body) => {
      expect(codeOf(() => decodeRecords(header, body.subarray(0, body.byteLength - 1)))).toBe('PROTOCOL_LAYOUT');
    });
  });
});

const OPEN: OpenRequest = { vpgId: 'v', vmId: 'm', epoch: 1, sessionId: 's', volumes: [4096], firstQueuedSeq: 1, lastSeq: 0, ackedSeq: 0 };
const MARKER: CheckpointMarker = { vpgId: 'v', checkpointId: 9, epoch: 1, term: 2, vmIds: ['m', 'n'], atMs: 1.5, ageMs: 0, tag: 'ä', kind: 'tagged' };

describe('JSON bodies', () => {
  it('come back as they were', () => {
    expect(decodeOpen(encodeOpen(OPEN))).toEqual(OPEN);
    const opened = { incarnation: 1, durableSeq: 0, lastSessionId: null, isBaseComplete: false, isPreseeded: false, copyingVolumes: [3], creditBytes: 5, newestCheckpointId: 9, basisId: 'b' };
    expect(decodeOpened(encodeOpened(opened))).toEqual(opened);
    expect(decodeOpened(encodeOpened({ ...opened, basisId: null }))).toMatchObject({ basisId: null });
    expect(decodeRefused(encodeRefused({ code: 'fenced', message: '' }))).toEqual({ code: 'fenced', message: '' });
    expect(decodeMarker(encodeMarker(MARKER))).toEqual(MARKER);
    expect(decodeSeal(encodeSeal({ vpgId: 'v', checkpointId: 9, term: 2 }))).toEqual({ vpgId: 'v', checkpointId: 9, term: 2 });
    expect(decodeSyncStart(encodeSyncStart({ kind: 'bitmapSync', reason: 'r' }))).toEqual({ kind: 'bitmapSync', reason: 'r' });
    expect(decodeAck(encodeAck(2 ** 40))).toBe(2 ** 40);
  });

  const wrongValues: Record<string, readonly unknown[]> = {
    vpgId: ['', 1, null, 'x'.repeat(201)],
    epoch: [0, 1.5, -1, 2 ** 32, '1', null],
    volumes: [null, {}, ['4096'], [-1], [1.5], Array.from({ length: 65 }, () => 4096)],
    firstQueuedSeq: [0, null],
    lastSeq: [-1, 2 ** 53],
  };
  it.each(Object.entries(wrongValues).flatMap(([name, values]) => values.map((value) => [name, value] as const)))('open with %s = %j is refused', (name, value) => {
    expect(codeOf(() => decodeOpen(utf8Bytes(JSON.stringify({ ...OPEN, [name]: value }))))).toBe('PROTOCOL_LAYOUT');
  });

  it.each(Object.keys(OPEN))('open without %s is refused', (name) => {
    const { [name as keyof OpenRequest]: _, ...rest } = OPEN;
    expect(codeOf(() => decodeOpen(utf8Bytes(JSON.stringify(rest))))).toBe('PROTOCOL_LAYOUT');
  });

  it.each([
    ['an unknown field', utf8Bytes(JSON.stringify({ ...OPEN, more: 1 }))],
    ['a field named __proto__', utf8Bytes(JSON.stringify(OPEN).replace('{', '{"__proto__":{},'))],
    ['an array', utf8Bytes('[]')],
    ['null', utf8Bytes('null')],
    ['half an object', utf8Bytes('{"vpgId":')],
    ['a million brackets', utf8Bytes('['.repeat(1_000_000))],
    ['bytes that are not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d)],
    ['nothing', new Uint8Array()],
  ])('%s is refused', (_, body) => {
    expect(codeOf(() => decodeOpen(body))).toBe('PROTOCOL_LAYOUT');
  });

  it('an unknown refusal code and an unknown checkpoint kind are refused', () => {
    expect(codeOf(() => decodeRefused(utf8Bytes('{"code":"maybe","message":"x"}')))).toBe('PROTOCOL_LAYOUT');
    expect(codeOf(() => decodeMarker(utf8Bytes(JSON.stringify({ ...MARKER, kind: 'x' }))))).toBe('PROTOCOL_LAYOUT');
  });

  it('a control body gives its type, and refuses what its reader did not ask for', () => {
    const { type, fields } = decodeControl(utf8Bytes('{"type":"barrier","term":3,"x":1}'));
    expect([type, fields.integer('term', 0)]).toEqual(['barrier', 3]);
    expect(codeOf(() => fields.end())).toBe('PROTOCOL_LAYOUT');
  });

  it('an ack of a wrong length or beyond 2^53 is refused', () => {
    expect(codeOf(() => decodeAck(new Uint8Array(7)))).toBe('PROTOCOL_LAYOUT');
    expect(codeOf(() => decodeAck(new Uint8Array(8).fill(0xff)))).toBe('PROTOCOL_LIMIT');
  });
});

describe('hash frames', () => {
  const REQUEST = { volume: 1, offset: 2 * 4096, length: 3 * 4096, atSeq: 2 ** 40 };
  const VOLUMES = [4096, 5 * 4096 + 100];
  const refused = (change: Partial<typeof REQUEST>): unknown => codeOf(() => decodeHashRequest(encodeHashRequest({ ...REQUEST, ...change }), VOLUMES));

  it('come back as they were', () => {
    expect(decodeHashRequest(encodeHashRequest(REQUEST), VOLUMES)).toEqual(REQUEST);
    expect(decodeHashRequest(encodeHashRequest({ ...REQUEST, length: 3 * 4096 + 100 }), VOLUMES).length).toBe(3 * 4096 + 100);
    const { atSeq: _, ...extent } = REQUEST;
    for (const hashes of ['zeroes', 'unreadable', new Uint8Array(3 * 32).fill(9)] as const) {
      expect(decodeHashReply(joined(encodeHashReply({ ...extent, hashes })))).toEqual({ ...extent, hashes });
    }
  });

  it('are refused outside the volume, not of whole blocks, too long, or with digests that do not fit', () => {
    expect([refused({ volume: 2 }), refused({ offset: 4 * 4096 }), refused({ offset: 100 }), refused({ length: 100 }), refused({ length: 0 })]).toEqual(Array(5).fill('PROTOCOL_LAYOUT'));
    expect(codeOf(() => decodeHashRequest(encodeHashRequest({ ...REQUEST, length: 2 ** 21 }), [0, 2 ** 30]))).toBe('PROTOCOL_LAYOUT');
    const [head = new Uint8Array(), digests = new Uint8Array()] = encodeHashReply({ volume: 0, offset: 0, length: 4096, hashes: new Uint8Array(32) });
    for (const body of [head, joined([head, digests, digests]), head.subarray(0, 15)]) expect(codeOf(() => decodeHashReply(body))).toBe('PROTOCOL_LAYOUT');
    head[2] = 7;
    expect(codeOf(() => decodeHashReply(head))).toBe('PROTOCOL_LAYOUT');
  });

  it('are compared block by block; what could not be read is never the same', () => {
    const a = new Uint8Array(3 * 32).fill(1, 32, 64);
    const b = new Uint8Array(3 * 32).fill(1, 32, 96);
    expect([...equalBlocks(a, b, 3 * 4096)]).toEqual([1, 1, 0]);
    expect([...equalBlocks(a, 'zeroes', 3 * 4096 - 1)]).toEqual([1, 0, 1]);
    expect([...equalBlocks('zeroes', 'zeroes', 4096), ...equalBlocks('unreadable', 'unreadable', 4096)]).toEqual([1, 0]);
  });
});
