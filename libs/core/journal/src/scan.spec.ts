import { describe, expect, it } from '@jest/globals';
import { encodeSyncStart, RecordType, type StreamRecord } from '@tidemark/frame';
import { JOURNAL_RECORD_HEADER_BYTES, JournalRecovery, SEGMENT_HEADER_BYTES } from './index.js';
import { crc32cTable } from '@tidemark/base/testing';
import { frameOf, IDENTITY, JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { mark, marker, seal, write } from './testing/stream-records.js';

class Sender {
  seq = 0;
  incarnation = 0;

  constructor(public bench: JournalBench) {}

  begin(sessionId = 'a'): void {
    const begun = this.bench.ask({ type: 'beginIncarnation', sessionId, epoch: 1 });
    if (typeof begun !== 'object') throw new Error(`refused: ${begun}`);
    this.incarnation = begun.incarnation;
    this.seq = begun.durableSeq;
  }

  send(...records: StreamRecord[]): void {
    const frame = frameOf(records, { firstSeq: this.seq + 1, incarnation: this.incarnation, epoch: 1 });
    this.bench.append(frame);
    this.seq = frame.header.lastSeq;
  }

  base(): void {
    this.begin();
    this.send(mark(RecordType.syncStart, encodeSyncStart({ kind: 'initialSync', reason: 'test' })), mark(RecordType.syncEnd));
    this.bench.settle();
  }
}

const SEGMENT_BYTES = 64 * 1024;

function started(segmentBytes = SEGMENT_BYTES): { disk: JournalDisk; sender: Sender } {
  const disk = new JournalDisk([64 * 1024]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes }));
  sender.base();
  return { disk, sender };
}

const heldIds = (bench: JournalBench): number[] => bench.journal.checkpoints.map(({ checkpointId }) => checkpointId);

/** Offsets of the records in a segment. */
function recordsAt(bytes: Uint8Array): number[] {
  const found: number[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = SEGMENT_HEADER_BYTES; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength; at += 64) if (view.getUint32(at + 4, true) === 0x524a4454) found.push(at);
  return found;
}

describe('the scan after a restart', () => {
  it('cuts the tail at any byte, keeps everything before, and goes on', () => {
    const { disk, sender } = started();
    sender.send(write(0, 1), marker(1));
    sender.send(seal(1));
    sender.bench.settle();
    const syncedBytes = disk.sizeOf(1);
    const durableSeq = sender.bench.durableSeq;
    sender.send(write(0, 2, 1024));
    sender.bench.completeOne(); // appended, not synced
    const whole = disk.read(1, disk.sizeOf(1));
    for (let bytes = syncedBytes; bytes < whole.byteLength; bytes += 1) {
      const torn = new JournalDisk([64 * 1024]);
      torn.create(1, whole.slice(0, bytes));
      const bench = new JournalBench(torn, { segmentBytes: SEGMENT_BYTES });
      bench.settle();
      expect([bench.recovered.corruption, bench.journal.durable.lastSeq, heldIds(bench), torn.sizeOf(1)]).toEqual([undefined, durableSeq, [1], syncedBytes]);
    }
  });

  it('never cuts a record that a later one knows to be committed: broken, nothing lost on disk, earlier checkpoints readable', () => {
    const { disk, sender } = started();
    sender.send(write(0, 1), marker(1));
    sender.send(seal(1));
    sender.bench.settle();
    sender.send(write(0, 2));
    sender.bench.settle();
    sender.send(write(0, 3), marker(2));
    sender.send(seal(2));
    sender.bench.settle();
    const bytes = disk.read(1, disk.sizeOf(1));
    const at = recordsAt(bytes).at(-3) ?? 0; // the frame before the second checkpoint's
    bytes[at + JOURNAL_RECORD_HEADER_BYTES + 40] = (bytes[at + JOURNAL_RECORD_HEADER_BYTES + 40] ?? 0) ^ 1;
    disk.create(1, bytes);
    const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
    bench.settle();
    expect(bench.recovered.corruption).toContain('had been durable');
    expect(bench.journal.state.phase).toBe('broken');
    expect([heldIds(bench), disk.read(1, disk.sizeOf(1))]).toEqual([[1], bytes]);
    const [checkpoint] = bench.journal.checkpoints;
    expect(checkpoint === undefined ? 0 : bench.image(checkpoint)[0]?.[0]).toBe(1);
    // Epochs can still be reserved, and all of that is there after another restart.
    expect(bench.ask({ type: 'reserveEpoch', epoch: 2 })).toBe(undefined);
    const again = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
    again.settle();
    expect([again.journal.state.phase, heldIds(again), again.journal.durable.reservedEpoch]).toEqual(['broken', [1], 2]);
    expect(again.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 })).toBe('JOURNAL_BROKEN');
  });

  it('takes a tail that the sender was told to be durable for corruption', () => {
    const { disk, sender } = started();
    sender.send(write(0, 1));
    sender.bench.settle();
    const acked = sender.bench.durableSeq;
    disk.truncate(1, disk.sizeOf(1) - 64);
    expect(new JournalBench(disk, { segmentBytes: SEGMENT_BYTES, ackedSeq: acked }).recovered.corruption).toContain('told');
    expect(new JournalBench(disk, { segmentBytes: SEGMENT_BYTES }).recovered.tornTail).toContain('nothing says');
  });

  it('does not take what a guest writes for records: a copy of the journal inside a torn frame stays a torn tail', () => {
    const { disk, sender } = started();
    sender.send(write(0, 1));
    sender.bench.settle();
    const copy = disk.read(1, 8192 < disk.sizeOf(1) ? 8192 : disk.sizeOf(1));
    const other = copy.slice();
    for (const at of recordsAt(other)) other.fill(0xee, at + 16, at + 24); // the guest cannot know the salt
    sender.send({ type: RecordType.write, volume: 0, offset: 0, length: other.byteLength, payload: other });
    sender.bench.completeOne();
    disk.truncate(1, disk.sizeOf(1) - 64);
    expect(new JournalBench(disk, { segmentBytes: SEGMENT_BYTES }).recovered.corruption).toBe(undefined);
  });

  it('does not revive a stale tail: the chain tells the old record from the one that took its place', () => {
    const { disk, sender } = started();
    sender.bench.settle();
    const end = disk.sizeOf(1);
    sender.send(write(0, 1));
    sender.send(write(512, 2));
    sender.bench.completeOne();
    sender.bench.completeOne(); // both appended, neither synced
    const first = disk.read(1, disk.sizeOf(1));
    expect([sender.bench.durableSeq, recordsAt(first).filter((at) => at >= end)]).toEqual([2, [end, end + 704]]);
    disk.truncate(1, end);
    const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
    bench.settle();
    const next = new Sender(bench);
    next.incarnation = 1;
    next.seq = bench.journal.durable.lastSeq;
    next.send(write(0, 3)); // as long as the first of the old ones
    bench.settle();
    // The second of the old ones comes back behind it, as a truncation that was lost would bring it: right place, right number.
    const now = disk.read(1, disk.sizeOf(1));
    const mixed = new Uint8Array(first.byteLength);
    mixed.set(first);
    mixed.set(now);
    disk.create(1, mixed);
    const again = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
    again.settle();
    expect([again.recovered.corruption, again.journal.durable.lastSeq, disk.sizeOf(1)]).toEqual([undefined, bench.durableSeq, now.byteLength]);
  });

  it.each(['header', 'missing'])('knows corruption when a whole segment is unreadable: %s', (how) => {
    const { disk, sender } = started(4096);
    for (let i = 0; i < 20; i += 1) {
      sender.send(write(i * 512, i + 1), marker(i + 1));
      sender.send(seal(i + 1));
      sender.bench.settle();
    }
    expect(disk.files.size).toBeGreaterThan(4);
    if (how === 'missing') disk.remove(3);
    else disk.create(3, disk.read(3, disk.sizeOf(3)).fill(0, 0, 100));
    const bench = new JournalBench(disk, { segmentBytes: 4096 });
    bench.settle();
    expect(bench.journal.state.phase).toBe('broken');
    if (how === 'header') expect(heldIds(bench).length).toBeGreaterThan(0);
  });

  it('refuses the journal of another protection', () => {
    const { disk } = started();
    const open = (vmId: string) => (): JournalRecovery =>
      new JournalRecovery({ identity: { ...IDENTITY, vmId }, epoch: 1, crc32c: crc32cTable, decompress: (_, body) => body }, disk.found());
    expect(open(IDENTITY.vmId)).not.toThrow();
    expect(open('vm-2')).toThrow(expect.objectContaining({ code: 'JOURNAL_IDENTITY' }));
  });
});

describe('what the journal takes', () => {
  it('answers an incarnation only when it is durable, one above the highest known, with the session before', () => {
    const { disk, sender } = started();
    const request = sender.bench.request({ type: 'beginIncarnation', sessionId: 'b', epoch: 1 });
    sender.bench.completeOne();
    expect(sender.bench.answers.has(request)).toBe(false);
    sender.bench.settle();
    expect(sender.bench.answers.get(request)?.answer).toEqual({ incarnation: 2, durableSeq: 2, lastSessionId: 'a', isBaseComplete: true, copyingVolumes: [] });
    const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
    bench.settle();
    expect(bench.ask({ type: 'beginIncarnation', sessionId: 'c', epoch: 1 })).toMatchObject({ incarnation: 3, lastSessionId: 'b' });
  });

  it('refuses frames of an older incarnation or epoch, and gaps but at the first frame of an incarnation', () => {
    const { sender } = started();
    const at = (firstSeq: number, incarnation: number, epoch = 1): string | undefined => {
      const { header, records } = frameOf([write(0, 1)], { firstSeq, incarnation, epoch });
      return sender.bench.journal.frameError(header, records)?.code;
    };
    expect([at(3, 1), at(4, 1), at(2, 1), at(3, 2), at(3, 1, 2)]).toEqual([undefined, 'JOURNAL_ORDER', 'JOURNAL_ORDER', 'JOURNAL_FENCED', 'JOURNAL_FENCED']);
    sender.begin();
    expect([at(3, 1), at(10, 2), at(2, 2)]).toEqual(['JOURNAL_FENCED', undefined, 'JOURNAL_ORDER']);
    sender.seq = 9;
    sender.send(write(0, 1));
    expect([at(11, 2), at(12, 2)]).toEqual([undefined, 'JOURNAL_ORDER']);
  });

  it('holds a checkpoint only with marker and seal of one incarnation and term and no sync under way at the marker', () => {
    const { sender } = started();
    sender.send(marker(1), seal(1, 2)); // another term
    sender.send(marker(2));
    sender.begin();
    sender.send(seal(2)); // another incarnation
    sender.send(mark(RecordType.syncStart, encodeSyncStart({ kind: 'bitmapSync', reason: 'test' })), marker(3), mark(RecordType.syncEnd), seal(3));
    sender.send(marker(4), seal(4));
    sender.bench.settle();
    expect(heldIds(sender.bench)).toEqual([4]);
  });

  it('holds no checkpoint of another session, or behind a gap, before a sync has ended', () => {
    const { sender } = started();
    sender.begin('another session');
    sender.send(marker(1), seal(1));
    sender.send(mark(RecordType.syncEnd), marker(2), seal(2)); // the end of a sync that never began
    sender.send(mark(RecordType.syncStart, encodeSyncStart({ kind: 'initialSync', reason: 'test' })), mark(RecordType.syncEnd), marker(3), seal(3));
    sender.begin('another session');
    sender.seq += 100;
    sender.send(write(0, 1), marker(4), seal(4));
    sender.bench.settle();
    expect(heldIds(sender.bench)).toEqual([3]);
  });

  it('joins frames that arrive during a sync into the next append and sync', () => {
    const { sender } = started();
    sender.send(write(0, 1));
    for (let i = 0; i < 10; i += 1) sender.send(write(0, i));
    sender.bench.completeOne();
    expect(sender.bench.inFlight.map(({ type }) => type)).toEqual(['append', 'sync']);
    const before = sender.bench.durableSeq;
    sender.bench.completeOne(() => 0.9); // the sync of the first alone
    expect(sender.bench.durableSeq).toBe(before + 1);
    sender.bench.settle();
    expect(sender.bench.durableSeq).toBe(before + 11);
  });

  it('cuts back to the last committed record when full, takes retirement meanwhile, and resumes', () => {
    const { disk, sender } = started();
    for (const id of [1, 2]) sender.send(write(0, id), marker(id), seal(id));
    sender.bench.settle();
    const bytes = disk.sizeOf(1);
    sender.bench.plan = (effect) => (effect.type === 'append' ? 'noSpace' : undefined);
    sender.send(write(0, 9));
    sender.bench.settle();
    expect([sender.bench.states, disk.sizeOf(1)]).toEqual([['full'], bytes]);
    expect(sender.bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 })).toBe('JOURNAL_FULL');
    sender.bench.plan = () => undefined;
    expect(sender.bench.ask({ type: 'retire', checkpointId: 2 })).toBe(undefined);
    sender.bench.step({ type: 'resume' });
    sender.begin();
    sender.send(write(0, 9));
    sender.bench.settle();
    expect([sender.bench.states, sender.bench.durableSeq]).toEqual([['full', 'open'], sender.seq]);
  });

  it('never repeats a failed sync: broken, a new generation records it, checkpoints stay', () => {
    const { disk, sender } = started();
    sender.send(write(0, 1), marker(1), seal(1));
    sender.bench.settle();
    const durableSeq = sender.bench.durableSeq;
    let syncs = 0;
    sender.bench.plan = (effect) => (effect.type === 'sync' && effect.segment === 1 && (syncs += 1) > 0 ? 'io' : undefined);
    sender.send(write(0, 2), marker(2), seal(2));
    sender.bench.settle();
    expect([syncs, sender.bench.states, heldIds(sender.bench), sender.bench.durableSeq]).toEqual([1, ['broken'], [1], durableSeq]);
    const again = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
    again.settle();
    expect([again.journal.state.phase, heldIds(again), again.journal.durable.lastSeq]).toEqual(['broken', [1], durableSeq]);
  });
});

describe('retirement, apply and epochs', () => {
  function withCheckpoints(count: number, segmentBytes = 4096): { disk: JournalDisk; sender: Sender } {
    const made = started(segmentBytes);
    for (let id = 1; id <= count; id += 1) {
      made.sender.send(write(id * 512, id), marker(id), seal(id));
      made.sender.bench.settle();
    }
    return made;
  }

  it('keeps the checkpoint it retires up to, applies up to it, and frees whole segments below', () => {
    const { disk, sender } = withCheckpoints(12);
    const before = disk.files.size;
    expect(sender.bench.ask({ type: 'allowApply', checkpointId: 10 })).toBe('JOURNAL_NOT_RETIRED');
    expect(sender.bench.ask({ type: 'retire', checkpointId: 10 })).toBe(undefined);
    expect(heldIds(sender.bench)).toEqual([10, 11, 12]);
    expect(sender.bench.ask({ type: 'allowApply', checkpointId: 10 })).toBe(undefined);
    expect(disk.files.size).toBeLessThan(before);
    expect(disk.mirrors[0]?.durable[10 * 512]).toBe(10);
    expect(disk.mirrors[0]?.durable[11 * 512]).toBe(0);
    const again = new JournalBench(disk, { segmentBytes: 4096 });
    again.settle();
    expect([again.recovered.corruption, heldIds(again)]).toEqual([undefined, [10, 11, 12]]);
  });

  it('refuses to retire or to apply below a pin, and frees nothing under a view', () => {
    const { disk, sender } = withCheckpoints(6);
    sender.bench.step({ type: 'pin', key: 'view', checkpointId: 3, isReading: true });
    expect(sender.bench.ask({ type: 'retire', checkpointId: 4 })).toBe('JOURNAL_PINNED');
    expect(sender.bench.ask({ type: 'retire', checkpointId: 3 })).toBe(undefined);
    const before = disk.files.size;
    expect(sender.bench.ask({ type: 'allowApply', checkpointId: 3 })).toBe(undefined);
    expect(disk.files.size).toBe(before);
    expect(sender.bench.journal.pinError(2)?.code).toBe('JOURNAL_CHECKPOINT');
    sender.bench.step({ type: 'unpin', key: 'view' });
    sender.bench.settle();
    expect(disk.files.size).toBeLessThanOrEqual(before);
  });

  it('reserves, burns and commits epochs durably and never uses a number twice', () => {
    const { disk, sender } = withCheckpoints(2);
    const { bench } = sender;
    expect(bench.ask({ type: 'commitEpoch', epoch: 2 })).toBe('JOURNAL_EPOCH');
    expect(bench.ask({ type: 'reserveEpoch', epoch: 1 })).toBe('JOURNAL_EPOCH');
    expect(bench.ask({ type: 'reserveEpoch', epoch: 2 })).toBe(undefined);
    expect(bench.ask({ type: 'reserveEpoch', epoch: 3 })).toBe('JOURNAL_EPOCH');
    expect(bench.ask({ type: 'burnEpoch', epoch: 2 })).toBe(undefined);
    expect(bench.ask({ type: 'reserveEpoch', epoch: 2 })).toBe('JOURNAL_EPOCH');
    expect(bench.ask({ type: 'reserveEpoch', epoch: 3 })).toBe(undefined);
    expect(bench.ask({ type: 'commitEpoch', epoch: 3 })).toBe(undefined);
    expect(bench.ask({ type: 'commitEpoch', epoch: 3 })).toBe(undefined);
    expect(bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 })).toBe('JOURNAL_ENDED');
    const again = new JournalBench(disk, { segmentBytes: 4096 });
    again.settle();
    expect([again.journal.state.phase, again.journal.durable.epoch, heldIds(again)]).toEqual(['ended', 3, [1, 2]]);
    expect(again.ask({ type: 'retire', checkpointId: 2 })).toBe('JOURNAL_ENDED');
  });

  it('starts a promotion only behind a commit, when nobody reads another checkpoint (one that is only kept goes with the history), and leaves its checkpoint alone in the list', () => {
    const { sender } = withCheckpoints(3);
    const { bench } = sender;
    expect(bench.ask({ type: 'startPromotion', checkpointId: 2 })).toBe('JOURNAL_EPOCH');
    bench.ask({ type: 'reserveEpoch', epoch: 2 });
    bench.ask({ type: 'commitEpoch', epoch: 2 });
    bench.step({ type: 'pin', key: 'test', checkpointId: 3, isReading: true });
    expect(bench.ask({ type: 'startPromotion', checkpointId: 2 })).toBe('JOURNAL_PINNED');
    bench.step({ type: 'unpin', key: 'test' });
    bench.step({ type: 'pin', key: 'backup', checkpointId: 3, isReading: false });
    expect(bench.ask({ type: 'startPromotion', checkpointId: 2 })).toBe(undefined);
    expect(heldIds(bench)).toEqual([2]);
    expect(bench.ask({ type: 'startPromotion', checkpointId: 3 })).toBe('JOURNAL_CHECKPOINT');
  });

  it('numbers what was added and dropped', () => {
    const { sender } = withCheckpoints(3);
    expect(sender.bench.journal.listing({})).toMatchObject({ lastChange: 3, isWhole: true, isMore: false, dropped: [] });
    sender.bench.ask({ type: 'retire', checkpointId: 3 });
    const changes = sender.bench.journal.listing({ afterChange: 2 });
    expect([changes.lastChange, changes.isWhole, changes.held.map(({ checkpointId }) => checkpointId), changes.dropped]).toEqual([5, false, [3], [1, 2]]);
    expect(sender.bench.journal.listing({ afterChange: 99 }).isWhole).toBe(true);
  });
});
