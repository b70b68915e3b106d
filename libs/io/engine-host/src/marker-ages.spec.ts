import { describe, expect, it } from '@jest/globals';
import { decodeMarker, encodeMarkerWithRoom, RecordType, type CheckpointMarker, type StreamRecord } from '@tidemark/frame';
import { MarkerAges } from './marker-ages.js';

const markerOf = (checkpointId: number): CheckpointMarker =>
  ({ vpgId: 'vpg', checkpointId, epoch: 1, term: 1, vmIds: ['vm'], atMs: 1_790_000_000_000, ageMs: 0, tag: null, kind: 'automatic' });
const recordOf = (checkpointId: number): StreamRecord =>
  ({ type: RecordType.marker, volume: 0, offset: 0, length: 0, payload: encodeMarkerWithRoom(markerOf(checkpointId)) });
const ageIn = (record: StreamRecord | undefined): number => decodeMarker(record?.payload ?? new Uint8Array()).ageMs;

describe('the age of a queued marker', () => {
  it('is its time in the queue plus half the round trip, in as many bytes as before, every time it is sent', () => {
    const ages = new MarkerAges();
    const write = { type: RecordType.write, volume: 0, offset: 0, length: 1, payload: new Uint8Array(1) };
    const records = [write, recordOf(7)];
    ages.placed(7, 1000);
    for (const nowMs of [1000, 1250, 604_801_000]) {
      const [first, marker] = ages.aged(records, { nowMs, roundTripMs: 20 });
      expect(first).toBe(write);
      expect(ageIn(marker)).toBe(nowMs - 1000 + 10);
      expect(marker?.payload?.byteLength).toBe(records[1]?.payload?.byteLength);
    }
    expect(decodeMarker(records[1]?.payload ?? new Uint8Array())).toEqual(markerOf(7));
  });

  it('is never less than that of the oldest one remembered', () => {
    const ages = new MarkerAges();
    for (let id = 1; id <= 5000; id += 1) ages.placed(id, id);
    expect(ageIn(ages.aged([recordOf(1)], { nowMs: 5000, roundTripMs: 0 })[0])).toBe(5000 - 905);
  });
});
