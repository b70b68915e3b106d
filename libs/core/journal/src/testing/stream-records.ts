import { encodeMarker, encodeSeal, RecordType, type StreamRecord } from '@tidemark/frame';
import { IDENTITY } from './journal-bench.js';

export const mark = (type: RecordType, payload?: Uint8Array): StreamRecord => ({ type, volume: 0, offset: 0, length: 0, payload });
export const write = (offset: number, fill: number, length = 512): StreamRecord => ({ type: RecordType.write, volume: 0, offset, length, payload: new Uint8Array(length).fill(fill) });

export const marker = (checkpointId: number, term = 1): StreamRecord => mark(RecordType.marker, encodeMarker({
  vpgId: IDENTITY.vpgId, checkpointId, epoch: 1, term, vmIds: ['vm-1'], atMs: 1, ageMs: 0, tag: null, kind: 'automatic',
}));
export const seal = (checkpointId: number, term = 1): StreamRecord => mark(RecordType.seal, encodeSeal({ vpgId: IDENTITY.vpgId, checkpointId, term }));
