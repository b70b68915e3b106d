import { describe, expect, it } from '@jest/globals';
import { encodeSyncStart, RecordType, type StreamRecord } from '@tidemark/frame';
import { JOURNAL_RECORD_HEADER_BYTES } from './index.js';
import { frameOf, JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { mark, marker, seal } from './testing/stream-records.js';
import { BEING_COPIED, type VolumeWish } from './volume-set.js';

/**
 * A `volumes` record behind a break: what it says does not count, and nothing that it has led to behind the break may show in what is listed before it. Three
 * changes, three places of the break, and as much behind it as there can be.
 */
const BLOCK = 4096;
const BEFORE: readonly VolumeWish[] = [{ diskId: 'a', sizeBytes: BLOCK }, { diskId: 'b', sizeBytes: BLOCK }];
const [A, B] = BEFORE as readonly [VolumeWish, VolumeWish];
const CHANGES = {
  added: [A, B, { diskId: 'c', sizeBytes: BLOCK }],
  grown: [A, { ...B, sizeBytes: 2 * BLOCK }],
  removed: [A, { ...B, sizeBytes: 0 }],
} satisfies Record<string, readonly VolumeWish[]>;
type Change = keyof typeof CHANGES;

const block = (volume: number, value: number, { offset = 0, type = RecordType.write as RecordType } = {}): StreamRecord =>
  ({ type, volume, offset, length: BLOCK, payload: new Uint8Array(BLOCK).fill(value) });
const SYNC_START = mark(RecordType.syncStart, encodeSyncStart({ kind: 'deltaSync', reason: 'test' }));
const SYNC_END = mark(RecordType.syncEnd);

/** What the guest writes to the volumes as they are after the change. */
const writesTo = (change: Change, value: number, type: RecordType = RecordType.write): StreamRecord[] => {
  const last = { added: [block(1, value, { type }), block(2, value, { type })], grown: [block(1, value, { type }), block(1, value, { offset: BLOCK, type })], removed: [] };
  return [block(0, value, { type }), ...last[change]];
};

class World {
  readonly disk = new JournalDisk([BLOCK, 2 * BLOCK, BLOCK]);
  bench = new JournalBench(this.disk, { segmentBytes: 1024 * 1024, volumes: BEFORE });
  seq = 0;
  incarnation = 0;
  lastSessionId: string | null = null;

  constructor() {
    this.bench.settle();
    this.begin();
    this.send(SYNC_START, block(0, 1, { type: RecordType.syncWrite }), block(1, 1, { type: RecordType.syncWrite }), SYNC_END);
    this.send(block(0, 2), block(1, 2));
    this.checkpoint(2);
    this.send(block(0, 3), block(1, 3));
    this.checkpoint(3);
    this.send(block(0, 4)); // the record before the change
  }

  begin(): void {
    const begun = this.bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 });
    if (typeof begun !== 'object') throw new Error(`refused: ${String(begun)}`);
    ({ durableSeq: this.seq, incarnation: this.incarnation, lastSessionId: this.lastSessionId } = begun);
  }

  send(...records: StreamRecord[]): void {
    const frame = frameOf(records, { firstSeq: this.seq + 1, incarnation: this.incarnation, epoch: 1 });
    expect(this.bench.journal.frameError(frame.header, records)).toBeUndefined();
    this.seq = frame.header.lastSeq;
    this.bench.append(frame);
    this.bench.settle();
  }

  checkpoint(id: number): void {
    this.send(marker(id), seal(id));
  }

  reopen(): void {
    this.bench = new JournalBench(this.disk, { segmentBytes: 1024 * 1024, volumes: BEFORE });
    this.bench.settle();
  }

  /** Flips a bit in the body of the record that stands at this byte of the first segment. */
  damage(at: number): void {
    const bytes = this.disk.read(1, this.disk.sizeOf(1));
    const place = at + JOURNAL_RECORD_HEADER_BYTES;
    bytes[place] = (bytes[place] ?? 0) ^ 4;
    this.disk.create(1, bytes);
  }

  get ids(): number[] {
    return this.bench.journal.checkpoints.map(({ checkpointId }) => checkpointId);
  }

  /** Sizes and values of the volumes that a checkpoint has; every block of one holds the same value. */
  image(id: number): (readonly [number, readonly number[]])[] {
    const held = this.bench.journal.checkpoint(id);
    if (!held) throw new Error(`checkpoint ${String(id)} is not held`);
    const images = this.bench.image(held);
    return this.bench.journal.volumesAt(held.markerSeq).map(({ sizeBytes }, volume) => [sizeBytes, [...new Set(images[volume]?.subarray(0, sizeBytes))]] as const);
  }
}

/** In order: each row has all that stands before it as well. */
const BEHIND: Record<string, (world: World, change: Change) => void> = {
  'the volumes alone': (world, change) => expect(world.bench.ask({ type: 'changeVolumes', volumes: CHANGES[change] })).toBeUndefined(),
  'an incarnation': (world) => world.begin(),
  'the beginning of a sync': (world, change) => world.send(SYNC_START, ...writesTo(change, 5)),
  'what it copies': (world, change) => world.send(...writesTo(change, 5, RecordType.syncWrite).slice(change === 'added' ? 2 : 0)),
  'its end': (world) => world.send(SYNC_END),
  'a checkpoint': (world) => world.checkpoint(5),
  'its retirement': (world) => expect(world.bench.ask({ type: 'retire', checkpointId: 5 })).toBeUndefined(),
  'an apply': (world) => expect(world.bench.ask({ type: 'allowApply', checkpointId: 5 })).toBeUndefined(),
};
const STAGES = Object.keys(BEHIND);

const ROWS = (Object.keys(CHANGES) as Change[]).flatMap((change) => (['in the record before', 'in the volumes record', 'in the record behind'] as const).flatMap((place) =>
  STAGES.map((last, index) => ({ change, place, last, stages: STAGES.slice(0, index + 1) }))));

describe('a volumes record behind a break', () => {
  it.each(ROWS)('$change, broken $place, behind it up to: $last', ({ change, place, last, stages }) => {
    const world = new World();
    const beforeLast = world.disk.sizeOf(1);
    world.send(block(0, 4)); // a record of its own to break
    const at = world.disk.sizeOf(1);
    let behindAt = at;
    for (const stage of stages) {
      BEHIND[stage]?.(world, change);
      if (stage === STAGES[0]) behindAt = world.disk.sizeOf(1);
    }
    const isWholeBehind = stages.length > 1;
    if (place === 'in the record behind' && !isWholeBehind) return; // there is none
    world.damage({ 'in the record before': beforeLast, 'in the volumes record': at, 'in the record behind': behindAt }[place]);
    const { incarnation } = world;
    world.reopen();
    // The last record of all is a torn tail when it is damaged: nobody was told of it.
    const isTorn = stages.length === { 'in the record before': 0, 'in the volumes record': 1, 'in the record behind': 2 }[place];
    expect(world.bench.journal.state.phase).toBe(isTorn ? 'open' : 'broken');
    const isValid = place === 'in the record behind';
    const wishes = isValid ? CHANGES[change] : BEFORE;
    expect(world.bench.journal.durable.volumes.map(({ diskId, sizeBytes }) => ({ diskId, sizeBytes }))).toEqual(wishes);
    const isRetired = last === 'its retirement' || last === 'an apply';
    expect(world.ids).toEqual(isRetired ? [] : [2, 3]);
    if (!isRetired) expect([world.image(2), world.image(3)].map((image) => image.filter(([sizeBytes]) => sizeBytes > 0))).toEqual([[[BLOCK, [2]], [BLOCK, [2]]], [[BLOCK, [3]], [BLOCK, [3]]]]);
    goesOn(world, change, { isTorn, incarnation, isRetired });
  });
});

/** The stream opens with the new volumes, and everything is compared: the next checkpoint has them whole. */
function goesOn(world: World, change: Change, { isTorn, incarnation, isRetired }: { readonly isTorn: boolean; readonly incarnation: number; readonly isRetired: boolean }): void {
  if (!isTorn) world.bench.step({ type: 'reopen' });
  expect(world.bench.ask({ type: 'changeVolumes', volumes: CHANGES[change] })).toBeUndefined();
  world.begin();
  // Records behind the break tell of this number, and none is used twice.
  expect(world.incarnation).toBeGreaterThan(incarnation - (isTorn ? 1 : 0));
  expect(world.lastSessionId).toBe(isTorn ? 'a' : 'generation:');
  if (change === 'added') expect(world.bench.journal.durable.volumes[2]?.baseSeq).toBe(BEING_COPIED);
  world.checkpoint(6);
  expect(world.ids).not.toContain(6); // no sync yet
  world.send(SYNC_START, ...writesTo(change, 7, RecordType.syncWrite), SYNC_END);
  world.checkpoint(7);
  for (const again of [() => undefined, () => world.reopen()]) {
    again();
    expect(world.ids).toEqual(isRetired ? [7] : [2, 3, 7]);
    const sizes = CHANGES[change].map(({ sizeBytes }) => sizeBytes);
    expect(world.image(7)).toEqual(sizes.map((sizeBytes) => [sizeBytes, sizeBytes > 0 ? [7] : []]));
    if (!isRetired) expect(world.image(2).filter(([sizeBytes]) => sizeBytes > 0)).toEqual([[BLOCK, [2]], [BLOCK, [2]]]);
  }
}
