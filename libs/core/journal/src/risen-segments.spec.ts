import { describe, expect, it } from '@jest/globals';
import { encodeSyncStart, RecordType } from '@tidemark/frame';
import { SEGMENT_HEADER_BYTES } from './layout.js';
import { frameOf, JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { mark, marker, seal, write } from './testing/stream-records.js';

const SEGMENT_BYTES = 4096;
const SECTOR_BYTES = 512;
/** Of the first generation. Its history is applied up to BROKEN, and a bit turns in that one's frame. */
const CHECKPOINTS = 14;
const BROKEN = 5;
/** Of the second one. */
const NEWER = 20;

const syncStart = (kind: 'initialSync' | 'deltaSync') => mark(RecordType.syncStart, encodeSyncStart({ kind, reason: 'test' }));
const WHOLE = Array.from({ length: CHECKPOINTS }, (_, index) => index + 1);
const EVERYTHING = WHOLE.map((id) => write(id * SECTOR_BYTES, id));
const syncEnd = mark(RecordType.syncEnd);

class Sender {
  #seq = 0;
  #incarnation = 0;

  constructor(public bench: JournalBench) {}

  begin(): void {
    const begun = this.bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 });
    if (typeof begun !== 'object') throw new Error(`refused: ${String(begun)}`);
    this.#incarnation = begun.incarnation;
  }

  send(...records: Parameters<typeof frameOf>[0]): void {
    const frame = frameOf(records, { firstSeq: this.#seq + 1, incarnation: this.#incarnation, epoch: 1 });
    this.bench.append(frame);
    this.#seq = frame.header.lastSeq;
    this.bench.settle();
  }

  /** The marker has a frame of its own: what is applied ends before it. */
  checkpoint(id: number): void {
    this.send(write(id * SECTOR_BYTES, id));
    this.send(marker(id), seal(id));
  }
}

function opened(disk: JournalDisk): JournalBench {
  const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
  bench.settle();
  return bench;
}

const heldIds = ({ journal }: Pick<JournalBench, 'journal'>): number[] => journal.checkpoints.map(({ checkpointId }) => checkpointId);
/** What the sectors of the first generation's checkpoints hold at this one. */
const imageOf = (bench: JournalBench, id: number): (number | undefined)[] => {
  const checkpoint = bench.journal.checkpoint(id);
  const [volume] = checkpoint === undefined ? [] : bench.image(checkpoint);
  return WHOLE.map((id) => volume?.[id * SECTOR_BYTES]);
};

function damage(disk: JournalDisk, segment: number, at: number): void {
  const bytes = disk.read(segment, disk.sizeOf(segment)).slice();
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  disk.create(segment, bytes);
}

/** Where the frame with this marker is. */
function placeOf(disk: JournalDisk, markerSeq: number): { readonly segment: number; readonly at: number } {
  for (const [segment, { bytes }] of disk.files) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = SEGMENT_HEADER_BYTES; at + 128 <= bytes.byteLength; at += 64) {
      if (view.getUint32(at + 4, true) === 0x524a4454 && view.getUint16(at + 10, true) === 2 && Number(view.getBigUint64(at + 40, true)) === markerSeq) return { segment, at };
    }
  }
  throw new Error('no such frame');
}

/** A journal in its second generation: what the first one had before the break is applied and freed, and files that the second one has cut off are left. */
function cutOff(): { readonly disk: JournalDisk; readonly sender: Sender; readonly generationAt: number } {
  const disk = new JournalDisk([64 * 1024]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes: SEGMENT_BYTES }));
  sender.begin();
  sender.send(syncStart('initialSync'), syncEnd);
  for (let id = 1; id <= CHECKPOINTS; id += 1) sender.checkpoint(id);
  const { markerSeq } = sender.bench.journal.checkpoint(BROKEN) ?? { markerSeq: 0 };
  const { segment, at } = placeOf(disk, markerSeq);
  expect(sender.bench.ask({ type: 'retire', checkpointId: BROKEN })).toBe(undefined);
  expect(sender.bench.ask({ type: 'allowApply', checkpointId: BROKEN })).toBe(undefined);
  sender.bench.settle();
  damage(disk, segment, at);
  sender.bench = opened(disk);
  const generationAt = Math.max(...disk.files.keys());
  expect(sender.bench.journal.state.phase).toBe('broken');
  sender.bench.step({ type: 'reopen' });
  sender.begin();
  sender.send(syncStart('deltaSync'), ...EVERYTHING, syncEnd);
  sender.checkpoint(NEWER);
  // A view was open and is closed: what is applied is freed.
  sender.bench.step({ type: 'pin', key: 'view', checkpointId: NEWER, isReading: true });
  sender.bench.step({ type: 'unpin', key: 'view' });
  sender.bench.settle();
  expect(Math.min(...disk.files.keys())).toBe(segment + 1);
  expect(generationAt).toBeGreaterThan(segment + 2);
  return { disk, sender, generationAt };
}

describe('files that a generation has cut off, when its header does not read any more', () => {
  it('show nothing that needs what stood before them and is freed', () => {
    const { disk, generationAt } = cutOff();
    expect(heldIds(opened(disk))).toEqual([NEWER]);
    damage(disk, generationAt, 20);
    const { journal } = opened(disk);
    expect([journal.state.phase, heldIds({ journal })]).toEqual(['broken', []]);
  });

  it('are stood on by the next generation, whose checkpoints stay', () => {
    const { disk, sender, generationAt } = cutOff();
    damage(disk, generationAt, 20);
    sender.bench = opened(disk);
    sender.bench.step({ type: 'reopen' });
    sender.begin();
    sender.send(syncStart('deltaSync'), ...EVERYTHING, syncEnd);
    sender.checkpoint(NEWER + 1);
    const again = opened(disk);
    expect([again.journal.state.phase, heldIds(again), imageOf(again, NEWER + 1)]).toEqual(['open', [NEWER + 1], WHOLE]);
  });
});
