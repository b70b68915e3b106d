import { beforeEach, describe, expect, it } from '@jest/globals';
import { encodeMarker, encodeSeal, encodeSyncStart, RecordType, type StreamRecord } from '@tidemark/frame';
import { frameOf, IDENTITY, JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { BEING_COPIED } from './volume-set.js';

const BLOCK = 4096;
const ONE = [{ diskId: 'scsi:0:0', sizeBytes: BLOCK }];
const TWO = [...ONE, { diskId: 'scsi:0:1', sizeBytes: BLOCK }];

const mark = (type: RecordType, payload?: Uint8Array): StreamRecord => ({ type, volume: 0, offset: 0, length: 0, payload });
const write = (volume: number, value: number, { offset = 0, length = 512, type = RecordType.write as RecordType } = {}): StreamRecord =>
  ({ type, volume, offset, length, payload: new Uint8Array(length).fill(value) });
const block = (volume: number, value: number): StreamRecord => write(volume, value, { length: BLOCK, type: RecordType.syncWrite });
const syncStart = mark(RecordType.syncStart, encodeSyncStart({ kind: 'bitmapSync', reason: 'test' }));
const syncEnd = mark(RecordType.syncEnd);

let disk: JournalDisk;
let bench: JournalBench;
let seq: number;
let incarnation: number;

const start = (): void => {
  bench = new JournalBench(disk, { segmentBytes: 8 * 1024, volumes: ONE });
  bench.settle();
};

function open(): void {
  const begun = bench.ask({ type: 'beginIncarnation', sessionId: 'session', epoch: 1 });
  if (typeof begun !== 'object') throw new Error('no incarnation');
  ({ durableSeq: seq, incarnation } = begun);
}

function send(...records: StreamRecord[]): void {
  const frame = frameOf(records, { firstSeq: seq + 1, incarnation, epoch: 1 });
  expect(bench.journal.frameError(frame.header, records)).toBeUndefined();
  seq = frame.header.lastSeq;
  bench.append(frame);
  bench.settle();
}

function checkpoint(checkpointId: number): void {
  const marker = { vpgId: IDENTITY.vpgId, checkpointId, epoch: 1, term: 1, vmIds: ['vm-1'], atMs: 5, ageMs: 1, tag: null, kind: 'automatic' } as const;
  send(mark(RecordType.marker, encodeMarker(marker)));
  send(mark(RecordType.seal, encodeSeal({ vpgId: IDENTITY.vpgId, checkpointId, term: 1 })));
}

/** First byte of each volume of the checkpoint's image. */
function firstBytes(checkpointId: number): (number | undefined)[] {
  const held = bench.journal.checkpoint(checkpointId);
  if (!held) throw new Error(`checkpoint ${checkpointId} is not held`);
  const sizes = bench.journal.volumesAt(held.markerSeq);
  return bench.image(held).flatMap((bytes, volume) => ((sizes[volume]?.sizeBytes ?? 0) > 0 ? [bytes[0]] : []));
}

const restart = (): void => {
  disk.crash(() => 0.5);
  start();
};

beforeEach(() => {
  disk = new JournalDisk([2 * BLOCK, BLOCK]);
  start();
  open();
  send(syncStart, block(0, 1));
  send(syncEnd);
  checkpoint(1);
});

describe('volumes of a journal', () => {
  it('an added one is copied straight into its mirror beside the writes of the others, which are journalled', () => {
    expect(bench.ask({ type: 'changeVolumes', volumes: TWO })).toBeUndefined();
    open();
    const segmentBytes = (): number => bench.journal.segments.reduce((sum, { bytes }) => sum + bytes, 0);
    send(syncStart, write(1, 0xa1), write(0, 2));
    const before = segmentBytes();
    send(block(1, 0xb1));
    expect(segmentBytes() - before).toBeLessThan(BLOCK); // only that it happened
    expect(disk.mirrors[1]?.bytes[0]).toBe(0xb1);
    expect(disk.mirrors[0]?.bytes[0]).toBe(1);
    send(syncEnd, write(1, 0xc1, { offset: 512 }));
    expect(disk.mirrors[1]?.bytes[512]).toBe(0xb1);
    checkpoint(2);
    for (const again of [() => undefined, restart]) {
      again();
      expect(firstBytes(1)).toEqual([1]);
      expect(firstBytes(2)).toEqual([2, 0xb1]);
    }
  });

  it('the copy counts, not an older write that the journal holds too: rolling the mirror forward keeps it', () => {
    bench.ask({ type: 'changeVolumes', volumes: TWO });
    open();
    send(syncStart, write(1, 0xa1), write(0, 2));
    send(block(1, 0xb1));
    send(syncEnd);
    checkpoint(2);
    bench.ask({ type: 'retire', checkpointId: 2 });
    expect(bench.ask({ type: 'allowApply', checkpointId: 2 })).toBeUndefined();
    expect([disk.mirrors[0]?.bytes[0], disk.mirrors[1]?.bytes[0]]).toEqual([2, 0xb1]);
    restart();
    expect(firstBytes(2)).toEqual([2, 0xb1]);
  });

  it('a sync of an apply that runs beside the copy does not stand for the sync of the copy', () => {
    send(write(0, 2));
    checkpoint(2);
    bench.ask({ type: 'retire', checkpointId: 2 });
    bench.ask({ type: 'changeVolumes', volumes: TWO });
    open();
    send(syncStart);
    const acknowledged = bench.durableSeq;
    const copy = [block(1, 0xb1), syncEnd];
    const frame = frameOf(copy, { firstSeq: seq + 1, incarnation, epoch: 1 });
    seq = frame.header.lastSeq;
    bench.append(frame);
    const apply = bench.request({ type: 'allowApply', checkpointId: 2 });
    bench.complete('mirrorReplay');
    expect(bench.inFlight.map(({ type }) => type)).toEqual(['mirrorWrite', 'mirrorSync']);
    bench.complete('mirrorSync');
    bench.complete('append');
    bench.complete('sync');
    expect(bench.durableSeq).toBe(acknowledged);
    expect(bench.answers.has(apply)).toBe(true);
    bench.settle();
    expect(bench.durableSeq).toBe(seq);
    checkpoint(3);
    restart();
    expect(firstBytes(3)).toEqual([2, 0xb1]);
  });

  it('a full mirror that stops an apply leaves the copy beside it alone', () => {
    send(write(0, 2));
    checkpoint(2);
    bench.ask({ type: 'retire', checkpointId: 2 });
    bench.ask({ type: 'changeVolumes', volumes: TWO });
    open();
    send(syncStart);
    const frame = frameOf([block(1, 0xb1)], { firstSeq: seq + 1, incarnation, epoch: 1 });
    bench.append(frame);
    const apply = bench.request({ type: 'allowApply', checkpointId: 2 });
    bench.plan = ({ type }) => (type === 'mirrorReplay' ? 'noSpace' : undefined);
    bench.complete('mirrorReplay');
    bench.settle();
    expect(bench.answers.get(apply)?.error).toBe('JOURNAL_FULL');
    expect(bench.journal.state.phase).toBe('open');
    expect(bench.durableSeq).toBe(frame.header.lastSeq);
  });

  it.each([['added', TWO], ['grown', [{ diskId: 'scsi:0:0', sizeBytes: 2 * BLOCK }]]])('no checkpoint counts after one was %s, before a sync has ended', (_, volumes) => {
    bench.ask({ type: 'changeVolumes', volumes });
    open();
    checkpoint(2);
    expect(bench.journal.checkpoint(2)).toBeUndefined();
    send(syncStart, write(0, 3));
    checkpoint(3);
    expect(bench.journal.checkpoint(3)).toBeUndefined();
    send(syncEnd);
    checkpoint(4);
    expect(bench.journal.checkpoint(4)).toBeDefined();
  });

  it('a crash before the copy has ended leaves it to be copied; the older checkpoint has not heard of it', () => {
    bench.ask({ type: 'changeVolumes', volumes: TWO });
    open();
    send(syncStart, block(1, 0xb1));
    restart();
    expect(bench.journal.durable.volumes.map(({ baseSeq }) => baseSeq)).toEqual([0, BEING_COPIED]);
    expect(bench.journal.durable).toMatchObject({ sync: 'running', isBaseComplete: true });
    expect(firstBytes(1)).toEqual([1]);
  });

  it('a grown one has its size of then in an older checkpoint', () => {
    bench.ask({ type: 'changeVolumes', volumes: [{ diskId: 'scsi:0:0', sizeBytes: 2 * BLOCK }] });
    open();
    send(syncStart, write(0, 7, { offset: BLOCK }), syncEnd);
    checkpoint(2);
    restart();
    const sizeAt = (id: number): number | undefined => bench.journal.volumesAt(bench.journal.checkpoint(id)?.markerSeq ?? 0)[0]?.sizeBytes;
    expect([sizeAt(1), sizeAt(2)]).toEqual([BLOCK, 2 * BLOCK]);
  });

  it('a removed one is needed for as long as a checkpoint has it, over restarts, and takes no records', () => {
    bench.ask({ type: 'changeVolumes', volumes: TWO });
    open();
    send(syncStart, block(1, 0xb1), syncEnd);
    checkpoint(2);
    expect(bench.ask({ type: 'changeVolumes', volumes: [...ONE, { diskId: 'scsi:0:1', sizeBytes: 0 }] })).toBeUndefined();
    open();
    const frame = frameOf([write(1, 9)], { firstSeq: seq + 1, incarnation, epoch: 1 });
    expect(bench.journal.frameError(frame.header, frame.records)?.code).toBe('JOURNAL_ORDER');
    send(syncStart, write(0, 5), syncEnd);
    checkpoint(3);
    restart();
    expect(bench.journal.needsVolume(1)).toBe(true);
    expect([firstBytes(2), firstBytes(3)]).toEqual([[1, 0xb1], [5]]);
    bench.ask({ type: 'retire', checkpointId: 3 });
    expect(bench.journal.needsVolume(1)).toBe(false);
    expect(bench.journal.needsVolume(0)).toBe(true);
    restart();
    expect(bench.journal.needsVolume(1)).toBe(false);
  });

  it.each([
    ['fewer volumes', []],
    ['a smaller volume', [{ diskId: 'scsi:0:0', sizeBytes: 512 }]],
  ])('%s are refused', (_, volumes) => {
    expect(bench.ask({ type: 'changeVolumes', volumes })).toBe('JOURNAL_ORDER');
  });

  it('a removed volume cannot come back', () => {
    bench.ask({ type: 'changeVolumes', volumes: TWO });
    bench.ask({ type: 'changeVolumes', volumes: [...ONE, { diskId: 'scsi:0:1', sizeBytes: 0 }] });
    expect(bench.ask({ type: 'changeVolumes', volumes: TWO })).toBe('JOURNAL_ORDER');
    expect(bench.ask({ type: 'changeVolumes', volumes: [...ONE, { diskId: 'scsi:0:1', sizeBytes: 0 }] })).toBeUndefined();
  });
});
