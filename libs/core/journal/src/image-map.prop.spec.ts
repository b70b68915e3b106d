import { describe, expect, it } from '@jest/globals';
import { FrameCodec, RecordType, type StreamRecord } from '@tidemark/frame';
import fc from 'fast-check';
import { ImageLookup, type IndexPage, type MemoryRun, openPage, RunFences, RunMerger, sealPage, SegmentWrites, windowEnd } from './index.js';
import { runOfPages } from './memory-run.js';
import { crc32cTable } from '@tidemark/base/testing';
import { randomFrom, type Random } from './testing/journal-disk.js';

const SIZE = 300;
const ALL = { crc32c: crc32cTable, isWanted: () => true };
const SALT = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

interface Placed {
  readonly seq: number;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly isZero: boolean;
  readonly segment: number;
}

/** Random writes in segments of random length; some blocks are hot, some writes long, some seqs missing; some worlds have many small segments. */
class World {
  readonly writes: Placed[] = [];
  readonly segments: SegmentWrites[] = [];
  seq = 0;
  #longShare = 0;
  #place = { offset: 0, bytes: SIZE };

  constructor(readonly random: Random) {
    // Many small segments: a page each. Or large ones, with many long writes: pages of one run, each with writes from all of its time and over each other.
    const kind = random();
    const [count, writesMax] = kind < 0.4 ? [20 + this.pick(50), 60] : [1 + this.pick(4), kind < 0.6 ? 3000 : 600];
    this.#longShare = kind >= 0.4 && kind < 0.6 ? 0.2 : 0.005;
    for (let segment = 1; segment <= count; segment += 1) this.#fill(segment, writesMax);
  }

  pick(below: number): number {
    return Math.floor(this.random() * below);
  }

  #fill(segment: number, writesMax: number): void {
    const writes = new SegmentWrites(segment);
    this.segments.push(writes);
    const isHot = this.random() < 0.3;
    // Later segments leave most of the volume alone: there the oldest ones still show.
    this.#place = { offset: this.pick(SIZE), bytes: segment < 5 ? SIZE : 1 + this.pick(this.random() < 0.1 ? SIZE : 40) };
    for (let left = this.pick(writesMax); left > 0; left -= 1) {
      const records: StreamRecord[] = [];
      const firstSeq = this.seq + 1 + (this.random() < 0.05 ? this.pick(50) : 0);
      this.seq = firstSeq - 1;
      for (let i = 1 + this.pick(3); i > 0; i -= 1) records.push(this.#record(segment, isHot));
      writes.addFrame({ segment, at: 64 * firstSeq }, { firstSeq, codec: FrameCodec.none }, { records }, ALL);
    }
  }

  #record(segment: number, isHot: boolean): StreamRecord {
    this.seq += 1;
    if (this.random() < 0.1) return { type: RecordType.seal, volume: 0, offset: 0, length: 0, payload: new Uint8Array(3) };
    const volume = this.pick(2);
    const offset = isHot ? 8 * this.pick(3) : (this.#place.offset + this.pick(this.#place.bytes)) % SIZE;
    const length = Math.min(SIZE - offset, isHot ? 8 : 1 + this.pick(this.random() < this.#longShare ? SIZE : 20));
    const isZero = this.random() < 0.2;
    this.writes.push({ seq: this.seq, volume, offset, length, isZero, segment });
    return { type: isZero ? RecordType.zeroes : RecordType.write, volume, offset, length, payload: isZero ? undefined : new Uint8Array(length).fill(this.seq) };
  }

  /** seq of the newest write of every byte; 0: none. */
  model(volume: number, { afterSeq, beforeSeq }: { afterSeq: number; beforeSeq: number }): number[] {
    const bytes = new Array<number>(SIZE).fill(0);
    for (const write of this.writes) {
      if (write.volume === volume && write.seq > afterSeq && write.seq < beforeSeq) bytes.fill(write.seq, write.offset, write.offset + write.length);
    }
    return bytes;
  }
}

/** As files do: through bytes and back. */
function stored(run: MemoryRun): MemoryRun {
  const pages = run.pages.map((page, number) => {
    const copy = page.slice();
    sealPage(copy, { salt: SALT, number, crc32c: crc32cTable });
    const read = openPage(copy, { salt: SALT, number, crc32c: crc32cTable });
    if (read === undefined) throw new Error('a page reads back');
    return read;
  });
  const fences = new RunFences();
  if (!fences.addEncoded(run.fences.encode())) throw new Error('fences read back');
  return { pages, fences };
}

function merged(runs: readonly MemoryRun[], isKept: (segment: number) => boolean, random: Random): MemoryRun {
  const merger = new RunMerger(runs.length, isKept);
  const next = runs.map(() => 0);
  const pages: IndexPage[] = [];
  while (!merger.isDone) {
    const input = merger.wanted;
    if (input === undefined) merger.step(1 + Math.floor(random() * 500));
    else {
      merger.give(input, runs[input]?.pages[next[input] ?? 0]);
      next[input] = (next[input] ?? 0) + 1;
    }
    pages.push(...merger.takePages());
  }
  return runOfPages(pages);
}

function lookup(runs: readonly MemoryRun[], window: ConstructorParameters<typeof ImageLookup>[1], roundsMax = Infinity): { readonly seqs: number[]; readonly pages: number; readonly pieces: number } {
  const search = new ImageLookup(runs.map(({ fences }) => fences), window);
  let pages = 0;
  let rounds = 0;
  for (let wanted = search.wanted(); wanted.length > 0 && rounds < roundsMax; wanted = search.wanted()) {
    rounds += 1;
    pages += wanted.length;
    for (const { run, page } of wanted) search.take(runs[run]?.pages[page] ?? new Uint32Array(1024));
  }
  const seqs: number[] = [];
  let pieces = 0;
  search.image.visit(window.start, window.end, (start, end, piece) => {
    pieces += 1;
    for (let at = start; at < end; at += 1) seqs.push(piece?.seq ?? 0);
  });
  return { seqs, pages, pieces };
}

function pagesOf(fences: RunFences, window: ConstructorParameters<typeof ImageLookup>[1]): number {
  let count = 0;
  fences.visit(window, window, () => (count += 1));
  return count;
}

describe('the index of a journal', () => {
  it('shows the newest version of every byte between two positions, whatever was merged and freed', () => {
    let uncoveredAtFirst = 0;
    let replacedLater = 0;
    let prunedPages = 0;
    const property = fc.property(fc.nat(), (seed) => {
      const world = new World(randomFrom(seed));
      const { random } = world;
      const freed = world.pick(world.segments.length);
      const freedSeq = Math.max(0, ...world.writes.filter(({ segment }) => segment <= freed).map(({ seq }) => seq));
      // Some segments are in memory, some in runs of their own, some merged.
      let runs: MemoryRun[] = [];
      for (const segment of world.segments) runs.push(...(random() < 0.5 ? segment.runs() : [stored(merged(segment.runs(), () => true, random))]));
      if (random() < 0.7) {
        const from = world.pick(runs.length);
        const to = random() < 0.5 ? runs.length : from + 1 + world.pick(runs.length - from);
        runs = [...runs.slice(0, from), stored(merged(runs.slice(from, to), (segment) => segment > freed, random)), ...runs.slice(to)];
      }
      for (let i = 0; i < 8; i += 1) {
        const [start, end] = i < 2 ? [0, SIZE] : [world.pick(SIZE), world.pick(SIZE + 1)].sort((a, b) => a - b) as [number, number];
        const afterSeq = freedSeq + world.pick(2) * world.pick(world.seq);
        const window = { volume: world.pick(2), start, end, afterSeq, beforeSeq: random() < 0.3 ? Infinity : 1 + world.pick(world.seq + 2) };
        const found = lookup(runs, window);
        const expected = world.model(window.volume, window).slice(start, end);
        expect(found.seqs).toEqual(expected);
        // Every page that may hold anything, unless the lookup knew better.
        prunedPages += runs.reduce((sum, { fences }) => sum + pagesOf(fences, window), 0) - found.pages;
        const first = lookup(runs, window, 1).seqs;
        uncoveredAtFirst += first.filter((seq, at) => seq === 0 && expected[at] !== 0).length;
        replacedLater += first.filter((seq, at) => seq !== 0 && seq !== expected[at]).length;
      }
    });
    // What the first round of pages does not show is what pruning can lose: some sixty worlds have seldom none of it.
    for (let round = 0; round < 6 && (round === 0 || Math.min(uncoveredAtFirst, replacedLater, prunedPages) === 0); round += 1) fc.assert(property, { numRuns: 60 });
    for (const reached of [uncoveredAtFirst, replacedLater, prunedPages]) expect(reached).toBeGreaterThan(0);
  });

  it('reads a few pages of a block that was written a hundred thousand times, at any position', () => {
    const segments = [1, 2, 3].map((segment) => {
      const writes = new SegmentWrites(segment);
      for (let i = 0; i < 33_000; i += 1) {
        const record = { type: RecordType.zeroes, volume: 0, offset: 4096 * (i % 3), length: 4096, payload: undefined };
        writes.addFrame({ segment, at: 64 }, { firstSeq: (segment - 1) * 33_000 + i + 1, codec: FrameCodec.none }, { records: [record] }, ALL);
      }
      return merged(writes.runs(), () => true, () => 0.9);
    });
    for (const beforeSeq of [5, 20_000, 50_000, Infinity]) {
      const found = lookup(segments, { volume: 0, start: 4096, end: 8192, afterSeq: 0, beforeSeq });
      expect([found.seqs[0], found.pages <= 16]).toEqual([Math.floor((Math.min(beforeSeq - 1, 99_000) - 2) / 3) * 3 + 2, true]);
    }
    expect(windowEnd(segments.map(({ fences }) => fences), 0, 0, 12_288)).toBe(4096);
    expect(windowEnd(segments.map(({ fences }) => fences), 1, 0, 2 ** 40)).toBe(2 ** 40);
  });

  it('knows the payload of every run', () => {
    const writes = new SegmentWrites(7);
    const payload = Uint8Array.from({ length: 10 }, (_, i) => i);
    const records = [{ type: RecordType.write, volume: 0, offset: 100, length: 10, payload }, { type: RecordType.zeroes, volume: 0, offset: 104, length: 2, payload: undefined }];
    writes.addFrame({ segment: 7, at: 4096 }, { firstSeq: 2 ** 40, codec: FrameCodec.none }, { records }, ALL);
    writes.addFrame({ segment: 7, at: 8192 }, { firstSeq: 2 ** 40 + 2, codec: FrameCodec.zstd }, { records: [{ type: RecordType.write, volume: 0, offset: 2 ** 45, length: 10, payload }] }, ALL);
    const [run] = writes.runs();
    if (run === undefined) throw new Error('a run');
    const at = (start: number): unknown[] => {
      const search = new ImageLookup([run.fences], { volume: 0, start, end: start + 20, afterSeq: 0, beforeSeq: Infinity });
      for (const { page } of search.wanted()) search.take(run.pages[page] ?? new Uint32Array(1024));
      const pieces: unknown[] = [];
      search.image.visit(start, start + 20, (from, to, piece) => void (piece && pieces.push([from - start, to - start, piece])));
      return pieces;
    };
    const write = { segment: 7, at: 4096, seq: 2 ** 40, payloadBytes: 10, payloadCrc: crc32cTable(payload), isPacked: false };
    expect(at(100)).toEqual([
      [0, 4, { ...write, skip: 0, payloadAt: 48 }],
      [4, 6, { segment: 7, at: 4096, seq: 2 ** 40 + 1, payloadBytes: 2, payloadCrc: 0, isPacked: false, skip: 0, payloadAt: 0 }],
      [6, 10, { ...write, skip: 6, payloadAt: 54 }],
    ]);
    expect(at(2 ** 45 + 3)).toEqual([[0, 7, { segment: 7, at: 8192, seq: 2 ** 40 + 2, payloadBytes: 10, payloadCrc: 0, isPacked: true, skip: 3, payloadAt: 27 }]]);
  });

  it('does not take a page for another', () => {
    const page = new SegmentWrites(1);
    page.addFrame({ segment: 1, at: 64 }, { firstSeq: 1, codec: FrameCodec.none }, { records: [{ type: RecordType.zeroes, volume: 0, offset: 0, length: 1, payload: undefined }] }, ALL);
    const [first] = page.runs()[0]?.pages ?? [];
    if (first === undefined) throw new Error('a page');
    const read = (number: number, change: (bytes: Uint8Array) => void = () => undefined, salt = SALT): boolean => {
      const copy = first.slice();
      sealPage(copy, { salt: SALT, number: 5, crc32c: crc32cTable });
      change(new Uint8Array(copy.buffer));
      return openPage(copy, { salt, number, crc32c: crc32cTable }) !== undefined;
    };
    expect([read(5), read(4), read(5, () => undefined, new Uint8Array(8)), read(5, (bytes) => bytes.fill(1, 4000, 4001))]).toEqual([true, false, false, false]);
  });
});
