import { describe, expect, it } from '@jest/globals';
import { encodeSyncStart, RecordType, type StreamRecord } from '@tidemark/frame';
import { JOURNAL_RECORD_HEADER_BYTES } from './layout.js';
import { frameOf, JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { mark, marker, seal, write } from './testing/stream-records.js';

const SEGMENT_BYTES = 4096;
const SYNC_START = mark(RecordType.syncStart, encodeSyncStart({ kind: 'deltaSync', reason: 'test' }));
const SYNC_END = mark(RecordType.syncEnd);

class Sender {
  seq = 0;
  incarnation = 0;
  lastSessionId: string | null = null;

  constructor(public bench: JournalBench) {}

  begin(sessionId = 'a'): void {
    const begun = this.bench.ask({ type: 'beginIncarnation', sessionId, epoch: 1 });
    if (typeof begun !== 'object') throw new Error(`refused: ${String(begun)}`);
    this.incarnation = begun.incarnation;
    this.lastSessionId = begun.lastSessionId;
    this.seq = Math.max(this.seq, begun.durableSeq);
  }

  send(...records: StreamRecord[]): void {
    const frame = frameOf(records, { firstSeq: this.seq + 1, incarnation: this.incarnation, epoch: 1 });
    this.bench.append(frame);
    this.seq = frame.header.lastSeq;
    this.bench.settle();
  }

  checkpoint(id: number, byte: number): void {
    this.send(write(0, byte), marker(id), seal(id));
  }
}

function started(): { disk: JournalDisk; sender: Sender } {
  const disk = new JournalDisk([64 * 1024]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes: SEGMENT_BYTES }));
  sender.begin();
  sender.send(SYNC_START, SYNC_END);
  return { disk, sender };
}

function opened(disk: JournalDisk): JournalBench {
  const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
  bench.settle();
  return bench;
}

const heldIds = (bench: JournalBench): number[] => bench.journal.checkpoints.map(({ checkpointId }) => checkpointId);
const firstBytes = (bench: JournalBench): (number | undefined)[] => bench.journal.checkpoints.map((checkpoint) => bench.image(checkpoint)[0]?.[0]);

/** Flips a bit in the body of the record whose frame carries this checkpoint's marker. */
function damage(disk: JournalDisk, sender: Sender, checkpointId: number): void {
  const markerSeq = sender.bench.journal.checkpoint(checkpointId)?.markerSeq ?? 0;
  for (const [segment, { bytes }] of disk.files) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 1024; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength; at += 64) {
      if (view.getUint32(at + 4, true) !== 0x524a4454 || view.getUint16(at + 10, true) !== 2) continue;
      if (Number(view.getBigUint64(at + 40, true)) > markerSeq || Number(view.getBigUint64(at + 48, true)) < markerSeq) continue;
      const copy = bytes.slice();
      copy[at + JOURNAL_RECORD_HEADER_BYTES + 40] = (copy[at + JOURNAL_RECORD_HEADER_BYTES + 40] ?? 0) ^ 1;
      disk.create(segment, copy);
      return;
    }
  }
  throw new Error('no such frame');
}

describe('a journal whose storage failed', () => {
  it('goes on in a new generation after a sync of everything; images of both generations are right, after a restart too', () => {
    const { disk, sender } = started();
    sender.checkpoint(1, 1);
    sender.bench.plan = (effect) => (effect.type === 'sync' ? 'io' : undefined);
    sender.send(write(0, 2), marker(2), seal(2));
    expect(sender.bench.journal.state.phase).toBe('broken');
    expect(sender.bench.journal.canReopen).toBe(false); // not even the new generation can be synced
    sender.bench = opened(disk);
    expect([sender.bench.journal.state.phase, sender.bench.journal.canReopen]).toEqual(['broken', true]);
    sender.bench.step({ type: 'reopen' });
    sender.begin();
    expect(sender.lastSessionId).toBe('generation:');
    // The answer may get lost: who opens again before the sync has begun must hear the same.
    sender.begin();
    expect(sender.lastSessionId).toBe('generation:');
    sender.checkpoint(3, 3);
    expect(heldIds(sender.bench)).toEqual([1]); // no sync yet
    sender.send(SYNC_START, write(0, 4));
    sender.begin();
    expect(sender.lastSessionId).toBe('a'); // the sync goes on
    sender.send(SYNC_END, marker(5), seal(5));
    expect([heldIds(sender.bench), firstBytes(sender.bench)]).toEqual([[1, 5], [1, 4]]);
    const again = opened(disk);
    expect([again.journal.state.phase, heldIds(again), firstBytes(again), again.journal.durable.brokenReason]).toEqual(['open', [1, 5], [1, 4], null]);
    expect(again.ask({ type: 'retire', checkpointId: 5 })).toBe(undefined);
    expect(again.ask({ type: 'allowApply', checkpointId: 5 })).toBe(undefined);
    again.settle();
    expect([heldIds(again), firstBytes(again), disk.mirrors[0]?.bytes[0]]).toEqual([[5], [4], 4]);
    expect(opened(disk).journal.state.phase).toBe('open');
  });

  it('takes nothing before the older generations have been read back', () => {
    const { disk, sender } = started();
    let failures = 1;
    sender.bench.plan = (effect) => (effect.type === 'append' && failures-- > 0 ? 'io' : undefined);
    sender.send(write(0, 2));
    expect([sender.bench.journal.state.phase, sender.bench.journal.canReopen]).toEqual(['broken', true]);
    expect(sender.bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 })).toBe('JOURNAL_BROKEN');
    sender.bench.step({ type: 'reopen' });
    sender.begin();
    sender.send(SYNC_START, write(0, 3), SYNC_END, marker(1), seal(1));
    expect(firstBytes(opened(disk))).toEqual([3]);
  });
});

describe('damage in the middle of a journal', () => {
  it('lists no checkpoint again that the mirrors have passed: records behind the break say so', () => {
    const { disk, sender } = started();
    for (let id = 1; id <= 6; id += 1) sender.checkpoint(id, id);
    expect(sender.bench.ask({ type: 'retire', checkpointId: 3 })).toBe(undefined);
    expect(sender.bench.ask({ type: 'allowApply', checkpointId: 3 })).toBe(undefined);
    damage(disk, sender, 5);
    let bench = opened(disk);
    expect(bench.recovered.corruption).toContain('durable');
    expect([heldIds(bench), firstBytes(bench)]).toEqual([[3, 4], [3, 4]]);
    bench = opened(disk); // what was found behind the break is in the new generation now
    expect([bench.recovered.corruption, heldIds(bench), firstBytes(bench)]).toEqual([undefined, [3, 4], [3, 4]]);
  });

  it('forgets no committed epoch and no promotion behind it', () => {
    const { disk, sender } = started();
    for (let id = 1; id <= 4; id += 1) sender.checkpoint(id, id);
    damage(disk, sender, 3);
    expect(sender.bench.ask({ type: 'reserveEpoch', epoch: 2 })).toBe(undefined);
    expect(sender.bench.ask({ type: 'commitEpoch', epoch: 2 })).toBe(undefined);
    expect(sender.bench.ask({ type: 'startPromotion', checkpointId: 2 })).toBe(undefined);
    for (const bench of [opened(disk), opened(disk)]) {
      expect(bench.journal.durable).toMatchObject({ epoch: 2, isEnded: true, promotion: { checkpointId: 2, isDone: false } });
      expect(heldIds(bench)).toEqual([2]);
      expect(bench.ask({ type: 'beginIncarnation', sessionId: 'b', epoch: 1 })).toMatch(/JOURNAL_(ENDED|BROKEN)/);
    }
  });
});

describe('thinning', () => {
  it('drops what it is told and no write, keeps the oldest, the newest and pinned ones, and is there after a restart', () => {
    const { disk, sender } = started();
    for (let id = 1; id <= 6; id += 1) sender.checkpoint(id, id);
    sender.bench.step({ type: 'pin', key: 'backup', checkpointId: 4, isReading: true });
    expect(sender.bench.ask({ type: 'thin', checkpointIds: [1, 2, 3, 4, 5, 6, 99] })).toBe(undefined);
    expect([heldIds(sender.bench), firstBytes(sender.bench)]).toEqual([[1, 4, 6], [1, 4, 6]]);
    const again = opened(disk);
    expect([heldIds(again), firstBytes(again)]).toEqual([[1, 4, 6], [1, 4, 6]]);
    expect(again.ask({ type: 'thin', checkpointIds: [2] })).toBe(undefined);
    expect(again.ask({ type: 'retire', checkpointId: 4 })).toBe(undefined);
    expect(again.ask({ type: 'allowApply', checkpointId: 4 })).toBe(undefined);
    expect([heldIds(again), firstBytes(again)]).toEqual([[4, 6], [4, 6]]);
  });
});
