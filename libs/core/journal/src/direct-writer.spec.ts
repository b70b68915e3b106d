import { beforeEach, describe, expect, it } from '@jest/globals';
import { encodeSyncStart, RecordType, type StreamRecord } from '@tidemark/frame';
import { frameOf, JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';

const BLOCK = 4096;
const syncStart: StreamRecord = { type: RecordType.syncStart, volume: 0, offset: 0, length: 0, payload: encodeSyncStart({ kind: 'initialSync', reason: 'test' }) };

let disk: JournalDisk;
let bench: JournalBench;
let seq: number;
let incarnation: number;

/** Sends the block that begins at `index` blocks, filled with `index` + 1; nothing is carried out. */
function sendBlock(index: number): number {
  const block: StreamRecord = { type: RecordType.syncWrite, volume: 0, offset: index * BLOCK, length: BLOCK, payload: new Uint8Array(BLOCK).fill(index + 1) };
  return sendRecord(block);
}

function sendRecord(record: StreamRecord): number {
  const frame = frameOf([record], { firstSeq: seq + 1, incarnation, epoch: 1 });
  bench.append(frame);
  return (seq = frame.header.lastSeq);
}

const inFlight = (): string[] => bench.inFlight.map(({ type }) => type);
const mirrored = (): (number | undefined)[] => [0, 1, 2].map((index) => disk.mirrors[0]?.bytes[index * BLOCK]);

beforeEach(() => {
  disk = new JournalDisk([3 * BLOCK]);
  bench = new JournalBench(disk, { segmentBytes: 64 * 1024 });
  bench.settle();
  const begun = bench.ask({ type: 'beginIncarnation', sessionId: 'session', epoch: 1 });
  if (typeof begun !== 'object') throw new Error('no incarnation');
  ({ durableSeq: seq, incarnation } = begun);
  sendRecord(syncStart);
  bench.settle();
});

describe('the copy of a base', () => {
  it('writes a batch while the one before is synced, and a sync stands only for what was written when it began', () => {
    const first = sendBlock(0);
    bench.complete('mirrorWrite');
    const second = sendBlock(1);
    expect(inFlight()).toEqual(['mirrorSync', 'mirrorWrite']);
    bench.complete('mirrorWrite');
    const third = sendBlock(2);
    expect(inFlight()).toEqual(['mirrorSync', 'mirrorWrite']); // one sync at a time
    bench.complete('mirrorSync');
    bench.complete('append');
    bench.complete('sync');
    expect(bench.durableSeq).toBe(first);
    bench.complete('mirrorSync');
    bench.complete('append');
    bench.complete('sync');
    expect(bench.durableSeq).toBe(second);
    disk.crash(() => 0.9); // nothing survives that was not synced
    expect(mirrored()).toEqual([1, 2, 0]);
    expect(third).toBeGreaterThan(bench.durableSeq);
  });

  it('takes no completion of a batch that was given up for one of a later batch', () => {
    sendBlock(0);
    bench.complete('mirrorWrite');
    sendBlock(1);
    bench.plan = ({ type }) => (type === 'mirrorWrite' ? 'noSpace' : undefined);
    bench.complete('mirrorWrite');
    expect(bench.journal.state.phase).toBe('full');
    bench.plan = () => undefined;
    expect(inFlight()).toContain('mirrorSync'); // of the first batch, which is gone too
    const acknowledged = bench.durableSeq;
    bench.step({ type: 'resume' });
    const request = bench.request({ type: 'beginIncarnation', sessionId: 'session', epoch: 1 });
    bench.settle();
    expect(bench.durableSeq).toBe(acknowledged);
    const begun = bench.answers.get(request)?.answer;
    if (begun === undefined) throw new Error('no incarnation');
    ({ durableSeq: seq, incarnation } = begun);
    expect(seq).toBe(acknowledged);
    const last = sendBlock(2);
    bench.settle();
    expect(bench.durableSeq).toBe(last);
  });
});
