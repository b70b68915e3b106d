import fc from 'fast-check';
import { RecordType, type StreamRecord } from '../index.js';

const place = { volume: fc.nat(65_535), offset: fc.nat({ max: Number.MAX_SAFE_INTEGER - 2 ** 32 }) };
const payload = fc.uint8Array({ minLength: 1, maxLength: 300 });

const withPayload = fc
  .record({ ...place, type: fc.constantFrom(RecordType.write, RecordType.syncWrite), payload }, { noNullPrototype: true })
  .map((record): StreamRecord => ({ ...record, length: record.payload.byteLength }));
const withoutPayload = fc
  .record({ ...place, type: fc.constantFrom(RecordType.zeroes, RecordType.syncZeroes), length: fc.integer({ min: 1, max: 2 ** 31 }) }, { noNullPrototype: true })
  .map((record): StreamRecord => ({ ...record, payload: undefined }));
const mark = fc
  .record({ type: fc.constantFrom(RecordType.marker, RecordType.seal, RecordType.syncStart), payload }, { noNullPrototype: true })
  .map((record): StreamRecord => ({ ...record, volume: 0, offset: 0, length: 0 }));
const syncEnd = fc.constant<StreamRecord>({ type: RecordType.syncEnd, volume: 0, offset: 0, length: 0, payload: undefined });

export const anyRecords = fc.array(fc.oneof(withPayload, withoutPayload, mark, syncEnd), { minLength: 1, maxLength: 12 });

export const anyStream = fc.record(
  {
    stream: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    incarnation: fc.nat(2 ** 31 - 1),
    epoch: fc.nat(2 ** 31 - 1),
    firstSeq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER - 100 }),
  },
  { noNullPrototype: true },
);

export function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}
