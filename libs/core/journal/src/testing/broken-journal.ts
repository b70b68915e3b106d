import { expect } from '@jest/globals';
import { encodeSyncStart, RecordType } from '@tidemark/frame';
import { SEGMENT_HEADER_BYTES } from '../layout.js';
import { frameOf, JournalBench } from './journal-bench.js';
import { JournalDisk } from './journal-disk.js';
import { mark, marker, seal, write } from './stream-records.js';

const SEGMENT_BYTES = 4096;
const SECTOR_BYTES = 512;
/** Of the first generation. Its history is applied up to BROKEN, and a bit turns in that one's frame. */
const CHECKPOINTS = 14;
export const BROKEN = 5;
/** Of the second one. */
export const NEWER = 20;

export const syncStart = (kind: 'initialSync' | 'deltaSync') => mark(RecordType.syncStart, encodeSyncStart({ kind, reason: 'test' }));
export const WHOLE = Array.from({ length: CHECKPOINTS }, (_, index) => index + 1);
const EVERYTHING = WHOLE.map((id) => write(id * SECTOR_BYTES, id));
export const syncEnd = mark(RecordType.syncEnd);

/** Takes every answer at once. */
export class Sender {
  #seq = 0;
  #incarnation = 0;

  constructor(public bench: JournalBench) {}

  begin(): void {
    const begun = this.bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 });
    if (typeof begun !== 'object') throw new Error(`refused: ${String(begun)}`);
    this.#incarnation = begun.incarnation;
    this.#seq = begun.durableSeq;
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

export function opened(disk: JournalDisk): JournalBench {
  const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
  bench.settle();
  return bench;
}

export const heldIds = ({ journal }: Pick<JournalBench, 'journal'>): number[] => journal.checkpoints.map(({ checkpointId }) => checkpointId);
/** What the sectors of the first generation's checkpoints hold at this one. */
export const imageOf = (bench: JournalBench, id: number): (number | undefined)[] => {
  const checkpoint = bench.journal.checkpoint(id);
  const [volume] = checkpoint === undefined ? [] : bench.image(checkpoint);
  return WHOLE.map((id) => volume?.[id * SECTOR_BYTES]);
};

export function damage(disk: JournalDisk, segment: number, at: number): void {
  const bytes = disk.read(segment, disk.sizeOf(segment)).slice();
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  disk.create(segment, bytes);
}

/** Where the frame with this marker is. */
export function placeOf(disk: JournalDisk, markerSeq: number): { readonly segment: number; readonly at: number } {
  for (const [segment, { bytes }] of disk.files) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = SEGMENT_HEADER_BYTES; at + 128 <= bytes.byteLength; at += 64) {
      if (view.getUint32(at + 4, true) === 0x524a4454 && view.getUint16(at + 10, true) === 2 && Number(view.getBigUint64(at + 40, true)) === markerSeq) return { segment, at };
    }
  }
  throw new Error('no such frame');
}

/** A journal whose first generation ended where a bit has turned, in the frame of BROKEN, opened in its second one, which has begun with the file `generationAt`. Applied up to BROKEN, or not at all. */
export function brokenJournal({ isApplied }: { readonly isApplied: boolean }): { readonly disk: JournalDisk; readonly sender: Sender; readonly segment: number; readonly generationAt: number } {
  const disk = new JournalDisk([64 * 1024]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes: SEGMENT_BYTES }));
  sender.begin();
  sender.send(syncStart('initialSync'), syncEnd);
  for (let id = 1; id <= CHECKPOINTS; id += 1) sender.checkpoint(id);
  const { markerSeq } = sender.bench.journal.checkpoint(BROKEN) ?? { markerSeq: 0 };
  const { segment, at } = placeOf(disk, markerSeq);
  if (isApplied) {
    expect(sender.bench.ask({ type: 'retire', checkpointId: BROKEN })).toBe(undefined);
    expect(sender.bench.ask({ type: 'allowApply', checkpointId: BROKEN })).toBe(undefined);
    sender.bench.settle();
  }
  damage(disk, segment, at);
  sender.bench = opened(disk);
  const generationAt = Math.max(...disk.files.keys());
  expect(sender.bench.journal.state.phase).toBe('broken');
  expect(generationAt).toBeGreaterThan(segment + 2);
  return { disk, sender, segment, generationAt };
}

/** Frames are taken again: everything is copied, and a checkpoint follows. */
export function goOn(sender: Sender, checkpointId: number): void {
  sender.bench.step({ type: 'reopen' });
  sender.begin();
  sender.send(syncStart('deltaSync'), ...EVERYTHING, syncEnd);
  sender.checkpoint(checkpointId);
}
