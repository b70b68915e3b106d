import { describe, expect, it } from '@jest/globals';
import { encodeSyncStart, RecordType, type StreamRecord } from '@tidemark/frame';
import { JOURNAL_RECORD_HEADER_BYTES, RECORD_MAGIC } from './layout.js';
import { frameOf, JournalBench, type FaultPlan } from './testing/journal-bench.js';
import { JournalDisk, randomFrom } from './testing/journal-disk.js';
import { mark, marker, seal, write } from './testing/stream-records.js';

const SEGMENT_BYTES = 4096;
const CHECKPOINTS = 9;
const DAMAGED = 7;
/** The mirrors hold what is before this one. */
const OLDEST = 6;
const CRASHES = 12;
/** More effects than a new generation takes to begin. */
const STEPS_MAX = 8;

const opening = (disk: JournalDisk, plan: FaultPlan = () => undefined): JournalBench => {
  const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
  bench.plan = plan;
  return bench;
};

function opened(disk: JournalDisk): JournalBench {
  const bench = opening(disk);
  bench.settle();
  return bench;
}

type Break = 'a frame' | 'the first header';
/** What can still be shown: of the checkpoints that the mirrors have not passed. */
const HELD = { 'a frame': [OLDEST], 'the first header': [] } as const;

/** Nine checkpoints; the mirrors have passed the first five, epoch 2 was burned, and a bit has turned in front of what says so. */
function damagedJournal(where: Break = 'a frame'): JournalDisk {
  const disk = new JournalDisk([64 * 1024]);
  const bench = opened(disk);
  bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 });
  let seq = 0;
  const send = (...records: StreamRecord[]): void => {
    const frame = frameOf(records, { firstSeq: seq + 1, incarnation: 1, epoch: 1 });
    bench.append(frame);
    seq = frame.header.lastSeq;
    bench.settle();
  };
  send(mark(RecordType.syncStart, encodeSyncStart({ kind: 'initialSync', reason: 'test' })), mark(RecordType.syncEnd));
  const places = new Map<number, { readonly segment: number; readonly at: number }>();
  for (let id = 1; id <= CHECKPOINTS; id += 1) {
    send(write(0, id), marker(id), seal(id));
    const segment = Math.max(...disk.files.keys());
    places.set(id, { segment, at: recordsIn(disk, segment).at(-1) ?? 0 });
  }
  bench.step({ type: 'pinHead', key: 'view' }); // nothing is freed meanwhile
  for (const command of [{ type: 'reserveEpoch', epoch: 2 }, { type: 'burnEpoch', epoch: 2 }, { type: 'retire', checkpointId: OLDEST }, { type: 'allowApply', checkpointId: OLDEST }] as const) {
    expect(bench.ask(command)).toBe(undefined);
  }
  bench.settle();
  expect(disk.mirrors[0]?.bytes[0]).toBe(OLDEST);
  const frame = places.get(DAMAGED);
  if (frame === undefined) throw new Error('no such frame');
  if (where === 'a frame') turnBit(disk, frame.at, frame.segment);
  else turnBit(disk, 0, Math.min(...disk.files.keys()));
  return disk;
}

/** Where the records of a segment begin. */
function recordsIn(disk: JournalDisk, segment: number): number[] {
  const bytes = disk.read(segment, disk.sizeOf(segment));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: number[] = [];
  for (let at = 1024; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength; at += 64) if (view.getUint32(at + 4, true) === RECORD_MAGIC) found.push(at);
  return found;
}

function turnBit(disk: JournalDisk, at: number, segment: number): void {
  const bytes = disk.read(segment, disk.sizeOf(segment));
  bytes[at + 20] = (bytes[at + 20] ?? 0) ^ 1;
  disk.create(segment, bytes);
}

/** What must be known at every opening, whatever of the openings before it became durable. */
function expectLossSaid(disk: JournalDisk, held: readonly number[]): void {
  const bench = opened(disk);
  const { checkpoints } = bench.journal;
  expect([bench.journal.state.phase, checkpoints.map(({ checkpointId }) => checkpointId)]).toEqual(['broken', held]);
  expect(checkpoints.map((checkpoint) => bench.image(checkpoint)[0]?.[0])).toEqual(held);
  expect(bench.ask({ type: 'reserveEpoch', epoch: 2 })).toBe('JOURNAL_EPOCH');
}

const STEPS = Array.from({ length: STEPS_MAX }, (_, steps) => steps).flatMap((steps) => (['a frame', 'the first header'] as const).map((where) => ({ steps, where })));

describe('a new generation that a crash keeps from beginning', () => {
  it.each(STEPS)('forgets nothing of what made it necessary: killed after $steps effects, a bit of $where being wrong', ({ steps, where }) => {
    const disk = damagedJournal(where);
    for (let openings = 0; openings < 3; openings += 1) {
      const bench = opening(disk);
      for (let step = 0; step < steps && bench.inFlight.length > 0; step += 1) bench.completeOne();
    }
    expectLossSaid(disk, HELD[where]);
  });

  it.each(STEPS)('nor after power losses behind $steps effects, a bit of $where being wrong', ({ steps, where }) => {
    for (let seed = 0; seed < CRASHES; seed += 1) {
      const disk = damagedJournal(where);
      const random = randomFrom(seed);
      for (let openings = 0; openings < 3; openings += 1) {
        const bench = opening(disk);
        for (let step = 0; step < steps && bench.inFlight.length > 0; step += 1) bench.completeOne();
        disk.crash(random);
      }
      expectLossSaid(disk, HELD[where]);
    }
  });

  it.each(['io', 'noSpace'] as const)('nor when its own first append fails (%s)', (reason) => {
    const disk = damagedJournal();
    const bench = opening(disk, (effect) => (effect.type === 'append' ? reason : undefined));
    bench.settle();
    bench.plan = () => undefined;
    // Either it takes no command, and is opened anew by its host, or what it takes does not hide the loss.
    expect(bench.ask({ type: 'reserveEpoch', epoch: 3 })).toBe('JOURNAL_IO');
    expect(bench.journal.isDead).toBe(true);
    expectLossSaid(disk, HELD['a frame']);
  });

  it('nor when a bit turns in its first record', () => {
    const disk = damagedJournal();
    opened(disk);
    turnBit(disk, recordsIn(disk, Math.max(...disk.files.keys()))[0] ?? 0, Math.max(...disk.files.keys()));
    expectLossSaid(disk, HELD['a frame']);
  });

  it('nor is anything of it freed before it is durable', () => {
    const disk = damagedJournal();
    const segments = [...disk.files.keys()];
    const bench = opening(disk, (effect) => (effect.type === 'createSegment' ? 'io' : undefined));
    bench.settle();
    bench.step({ type: 'pinHead', key: 'view' });
    bench.step({ type: 'unpin', key: 'view' });
    bench.settle();
    expect([...disk.files.keys()].filter((segment) => segments.includes(segment))).toEqual(segments);
  });
});

/** Three checkpoints; the last append is in the page cache, and a sync of it has failed or never came. */
function journalWithTail(): JournalDisk {
  const disk = new JournalDisk([64 * 1024]);
  const bench = opened(disk);
  bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 });
  bench.append(frameOf([mark(RecordType.syncStart, encodeSyncStart({ kind: 'initialSync', reason: 'test' })), mark(RecordType.syncEnd), write(0, 1), marker(1), seal(1)], { firstSeq: 1, incarnation: 1, epoch: 1 }));
  bench.settle();
  bench.append(frameOf([write(0, 2), marker(2), seal(2)], { firstSeq: 6, incarnation: 1, epoch: 1 }));
  bench.complete('append');
  return disk;
}

describe('a journal whose storage fails while it is opened', () => {
  it('lets nothing stand on what could not be synced', () => {
    const disk = journalWithTail();
    const bench = opening(disk, (effect) => (effect.type === 'sync' ? 'io' : undefined));
    bench.settle();
    expect([bench.journal.state.phase, bench.journal.isDead, disk.files.size, bench.durableSeq]).toEqual(['broken', true, 1, 0]);
    disk.crash(() => 0.99); // what was not synced is gone
    const again = opened(disk);
    expect([again.journal.state.phase, again.journal.durable.lastSeq, again.journal.checkpoints.map(({ checkpointId }) => checkpointId)]).toEqual(['open', 5, [1]]);
  });

  it('finds what is durable behind files whose making came to nothing, however many they are', () => {
    const disk = journalWithTail();
    disk.sync(1);
    for (const segment of [2, 4, 5]) disk.create(segment, new Uint8Array(0));
    const again = opened(disk);
    expect([again.journal.state.phase, again.journal.durable.lastSeq, again.journal.checkpoints.map(({ checkpointId }) => checkpointId)]).toEqual(['open', 8, [1, 2]]);
  });
});
