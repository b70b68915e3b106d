import { describe, expect, it } from '@jest/globals';
import { ProtocolError } from '@tidemark/base';
import fc from 'fast-check';
import { decodeRecords, encodeFrame, encodeRecordsBody, encodeRecordsFrame, FrameCodec, FrameDecoder, FrameKind, type FrameHeader, type StreamRecord } from './index.js';
import { anyRecords, anyStream, joined } from './testing/arbitraries.js';
import { crc32cTable as crc32c } from '@tidemark/base/testing';

interface Taken {
  readonly header: FrameHeader;
  readonly records: StreamRecord[];
}

function decodeAll(chunks: readonly Uint8Array[]): Taken[] {
  const taken: Taken[] = [];
  const decoder = new FrameDecoder({ crc32c });
  for (const chunk of chunks) decoder.feed(chunk, (header, body) => taken.push({ header, records: decodeRecords(header, body) }));
  return taken;
}

/** What a hostile peer may cause: frames, or a ProtocolError. Anything else fails the test. */
function isRefused(bytes: Uint8Array): boolean {
  try {
    decodeAll([bytes]);
    return false;
  } catch (error) {
    if (error instanceof ProtocolError) return true;
    throw error;
  }
}

/** Reads bodies into place, as a socket does that reads into buffers of our choice: at most `steps[i]` bytes at a time, chunks are used again. */
function decodeInPlace(bytes: Uint8Array, steps: readonly number[]): Taken[] {
  const taken: Taken[] = [];
  const decoder = new FrameDecoder({ crc32c, allocate: (length) => new Uint8Array(length) });
  const hand = (header: FrameHeader, body: Uint8Array): void => void taken.push({ header, records: decodeRecords(header, body) });
  const chunk = new Uint8Array(Math.max(...steps));
  for (let at = 0, i = 0; at < bytes.byteLength; i += 1) {
    const target = decoder.bodyRest ?? chunk;
    const count = Math.min(steps[i % steps.length] ?? 1, target.byteLength, bytes.byteLength - at);
    target.set(bytes.subarray(at, at + count));
    at += count;
    if (target === chunk) {
      decoder.feed(chunk.subarray(0, count), hand);
      chunk.fill(0xee);
    } else decoder.bodyArrived(count, hand);
  }
  return taken;
}

describe('records frames', () => {
  it('come back alike when bodies are read into place and chunks are used again', () => {
    fc.assert(fc.property(anyStream, fc.array(anyRecords, { minLength: 1, maxLength: 4 }), fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 8 }), (fields, frames, steps) => {
      const bytes = joined(frames.flatMap((records) => encodeRecordsFrame(fields, records, crc32c)));
      expect(decodeInPlace(bytes, steps).map(({ records }) => records)).toEqual(frames);
    }));
  });

  it('come back as they were, zero copies on the way out', () => {
    fc.assert(fc.property(anyStream, anyRecords, (fields, records) => {
      const chunks = encodeRecordsFrame(fields, records, crc32c);
      const payloads = records.flatMap(({ payload }) => payload ?? []);
      expect(chunks.slice(1).every((chunk, index) => chunk === payloads[index])).toBe(true);
      const [frame, ...rest] = decodeAll([joined(chunks)]);
      expect(rest).toEqual([]);
      expect(frame?.records).toEqual(records);
      const { stream, incarnation, epoch, firstSeq, lastSeq } = frame?.header ?? {};
      expect({ stream, incarnation, epoch, firstSeq }).toEqual(fields);
      expect(lastSeq).toBe(fields.firstSeq + records.length - 1);
    }));
  });

  it('have one encoding: compressed or not, the raw body is the same', () => {
    fc.assert(fc.property(anyStream, anyRecords, (fields, records) => {
      const raw = joined(encodeRecordsBody(records));
      const plain = joined(encodeRecordsFrame(fields, records, crc32c));
      expect(plain.subarray(64)).toEqual(raw);
      // Any bytes do as "compressed" ones: the codec is not the frame's business.
      const packed = raw.toReversed();
      const lastSeq = fields.firstSeq + records.length - 1;
      const head = { ...fields, kind: FrameKind.records, count: records.length, lastSeq, codec: FrameCodec.zstd, rawBytes: raw.byteLength };
      const decoder = new FrameDecoder({ crc32c });
      decoder.feed(joined(encodeFrame(head, [packed], crc32c)), (header, body) => {
        expect(decodeRecords(header, body.toReversed())).toEqual(records);
      });
    }));
  });

  it('are the same for every split point and for one byte at a time', () => {
    fc.assert(fc.property(anyStream, anyRecords, anyRecords, (fields, first, second) => {
      const bytes = joined([...encodeRecordsFrame(fields, first, crc32c), ...encodeRecordsFrame(fields, second, crc32c)]);
      const whole = decodeAll([bytes]);
      expect(whole.length).toBe(2);
      for (let at = 0; at <= bytes.byteLength; at += 1) expect(decodeAll([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(whole);
      expect(decodeAll(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(whole);
    }), { numRuns: 10 });
  });

  it('with any bit flipped are refused', () => {
    fc.assert(fc.property(anyStream, anyRecords, fc.nat(), (fields, records, pick) => {
      const bytes = joined(encodeRecordsFrame(fields, records, crc32c));
      const bit = pick % (bytes.byteLength * 8);
      const at = bit >> 3;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
      expect(isRefused(bytes)).toBe(true);
    }), { numRuns: 500 });
  });
});

describe('hostile bytes', () => {
  it('random ones are refused as soon as a header is there', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 64, maxLength: 200 }), (bytes) => isRefused(bytes)));
  });

  /** Checksums of a peer that means harm are right: what is behind them has to hold too. */
  it('damaged fields under right checksums give frames or a ProtocolError, never another error', () => {
    const change = fc.tuple(fc.nat(), fc.nat(255));
    fc.assert(fc.property(anyStream, anyRecords, fc.array(change, { minLength: 1, maxLength: 4 }), (fields, records, changes) => {
      const body = joined(encodeRecordsBody(records));
      for (const [pick, byte] of changes) body[pick % body.byteLength] = byte;
      const head = { ...fields, kind: FrameKind.records, count: records.length, lastSeq: fields.firstSeq + records.length - 1 };
      isRefused(joined(encodeFrame(head, [body], crc32c)));
      const bytes = joined(encodeRecordsFrame(fields, records, crc32c));
      for (const [pick, byte] of changes) bytes[4 + (pick % 60)] = byte;
      new DataView(bytes.buffer).setUint32(0, crc32c(bytes.subarray(4, 64)), true);
      isRefused(bytes);
    }), { numRuns: 2000 });
  });
});
