import { describe, expect, it } from '@jest/globals';
import { FrameCodec, RecordType, type StreamRecord } from '@tidemark/frame';
import fc from 'fast-check';
import {
  decodeUpperFences, encodeFooter, decodeFooter, FencePageWriter, type IndexFooter, ImageLookup, type IndexPage, layoutOf, type LookupRun, type MemoryRun, openPage, type PageRef, RunFences, RunMerger,
  sealPage, SegmentWrites,
} from './index.js';
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

interface Run extends LookupRun {
  /** By number: pages of writes, then fence pages. */
  readonly pages: readonly IndexPage[];
}

const inMemory = ({ pages, fences }: MemoryRun): Run => ({ pages, fences, fencePagesAt: undefined });

/** As files do: through bytes and back, with `fencesMax` fences a page. */
function stored(run: MemoryRun, fencesMax: number): Run {
  const writer = new FencePageWriter(fencesMax);
  const pages = run.pages.map((page, number) => {
    const copy = page.slice();
    sealPage(copy, { salt: SALT, number, crc32c: crc32cTable });
    writer.add(copy);
    return copy;
  });
  const upper = new RunFences();
  writer.pages.forEach((page, i) => {
    sealPage(page, { salt: SALT, number: pages.length + i, crc32c: crc32cTable, kind: 'fences' });
    upper.addFencePage(page);
  });
  const bytes = upper.encode();
  const said = {
    firstSegment: 1, lastSegment: 1, segmentCount: 1, salt: SALT, pageCount: pages.length, fencePageCount: writer.pages.length, upperFencesCrc: crc32cTable(bytes), sectionsBytes: 0, sectionsCrc: 0,
    entryCount: 0,
  } satisfies IndexFooter;
  const footer = decodeFooter(encodeFooter(said, crc32cTable), layoutOf(said).fileBytes, crc32cTable);
  const fences = footer && decodeUpperFences(bytes, footer, crc32cTable);
  if (fences === undefined) throw new Error('upper fences read back');
  return { pages: [...pages, ...writer.pages], fences, fencePagesAt: pages.length };
}

/** As a reader of files does, with the checksum that the fence above says. */
function readPage({ pages, fencePagesAt }: Run, { page: number, pageCrc, isFences }: PageRef): IndexPage {
  const page = pages[number];
  const kind = isFences ? 'fences' : 'writes';
  const read = fencePagesAt === undefined ? page : page && openPage(page, { salt: SALT, number, crc32c: crc32cTable, kind, pageCrc });
  if (read === undefined) throw new Error(`${kind} ${number} read back`);
  return read;
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

interface Found {
  readonly seqs: number[];
  /** Of writes. */
  readonly pages: number;
  readonly fencePages: number;
  readonly pieces: number;
  readonly end: number;
}

/** The whole window, part by part. */
function lookup(runs: readonly Run[], window: ConstructorParameters<typeof ImageLookup>[1], roundsMax = Infinity): Found {
  const found = { seqs: [] as number[], pages: 0, fencePages: 0, pieces: 0 };
  let end = window.start;
  while (end < window.end) {
    const from = end;
    const search = new ImageLookup(runs, { ...window, start: from });
    let rounds = 0;
    for (let wanted = search.wanted(); wanted.length > 0 && rounds < roundsMax; wanted = search.wanted()) {
      if (wanted.some(({ isFences }) => !isFences)) rounds += 1;
      for (const ref of wanted) {
        const run = runs[ref.run];
        if (run === undefined) throw new Error('a run');
        if (ref.isFences) found.fencePages += 1;
        else found.pages += 1;
        search.take(ref, readPage(run, ref));
      }
    }
    end = search.end;
    search.image.visit(from, end, (start, stop, piece) => {
      found.pieces += 1;
      for (let at = start; at < stop; at += 1) found.seqs.push(piece?.seq ?? 0);
    });
  }
  return { ...found, end };
}

function pagesOf({ pages, fencePagesAt }: Run, window: ConstructorParameters<typeof ImageLookup>[1]): number {
  const fences = new RunFences();
  for (const page of pages.slice(0, fencePagesAt)) fences.addPage(page);
  let count = 0;
  fences.visit(window, window, () => (count += 1));
  return count;
}

describe('the index of a journal', () => {
  it('shows the newest version of every byte between two positions, whatever was merged and freed', () => {
    let uncoveredAtFirst = 0;
    let replacedLater = 0;
    let prunedPages = 0;
    let fencePages = 0;
    const property = fc.property(fc.nat(), (seed) => {
      const world = new World(randomFrom(seed));
      const { random } = world;
      const freed = world.pick(world.segments.length);
      const freedSeq = Math.max(0, ...world.writes.filter(({ segment }) => segment <= freed).map(({ seq }) => seq));
      // Some segments are in memory, some in runs of their own, some merged.
      const fencesMax = 1 + world.pick(4);
      const runs: Run[] = [];
      const from = random() < 0.3 ? Infinity : world.pick(world.segments.length);
      const to = random() < 0.5 ? world.segments.length : from + 1 + world.pick(world.segments.length - from);
      const inputs = world.segments.slice(from, to).flatMap((segment) => segment.runs());
      world.segments.forEach((segment, i) => {
        if (i < from || i >= to) runs.push(...(random() < 0.5 ? segment.runs().map(inMemory) : [stored(merged(segment.runs(), () => true, random), fencesMax)]));
        else if (i === from) runs.push(stored(merged(inputs, (each) => each > freed, random), fencesMax));
      });
      for (let i = 0; i < 8; i += 1) {
        const [start, end] = i < 2 ? [0, SIZE] : [world.pick(SIZE), world.pick(SIZE + 1)].sort((a, b) => a - b) as [number, number];
        const afterSeq = freedSeq + world.pick(2) * world.pick(world.seq);
        const window = { volume: world.pick(2), start, end, afterSeq, beforeSeq: random() < 0.3 ? Infinity : 1 + world.pick(world.seq + 2) };
        const found = lookup(runs, window);
        const expected = world.model(window.volume, window).slice(start, end);
        expect(found.seqs).toEqual(expected);
        // Every page that may hold anything, unless the lookup knew better.
        prunedPages += runs.reduce((sum, run) => sum + pagesOf(run, window), 0) - found.pages;
        fencePages += found.fencePages;
        const first = lookup(runs, window, 1).seqs;
        uncoveredAtFirst += first.filter((seq, at) => seq === 0 && expected[at] !== 0).length;
        replacedLater += first.filter((seq, at) => seq !== 0 && seq !== expected[at]).length;
      }
    });
    // What the first round of pages does not show is what pruning can lose: some sixty worlds have seldom none of it.
    for (let round = 0; round < 6 && (round === 0 || Math.min(uncoveredAtFirst, replacedLater, prunedPages) === 0); round += 1) fc.assert(property, { numRuns: 60 });
    for (const reached of [uncoveredAtFirst, replacedLater, prunedPages, fencePages]) expect(reached).toBeGreaterThan(0);
  });

  it('reads a few pages of a block that was written a hundred thousand times, at any position', () => {
    const segments = [1, 2, 3].map((segment) => {
      const writes = new SegmentWrites(segment);
      for (let i = 0; i < 33_000; i += 1) {
        const record = { type: RecordType.zeroes, volume: 0, offset: 4096 * (i % 3), length: 4096, payload: undefined };
        writes.addFrame({ segment, at: 64 }, { firstSeq: (segment - 1) * 33_000 + i + 1, codec: FrameCodec.none }, { records: [record] }, ALL);
      }
      return stored(merged(writes.runs(), () => true, () => 0.9), 16);
    });
    for (const beforeSeq of [5, 20_000, 50_000, Infinity]) {
      const found = lookup(segments, { volume: 0, start: 4096, end: 8192, afterSeq: 0, beforeSeq });
      expect([found.seqs[0], found.pages <= 16, found.fencePages <= 16]).toEqual([Math.floor((Math.min(beforeSeq - 1, 99_000) - 2) / 3) * 3 + 2, true, true]);
    }
    const endOf = (volume: number, end: number): number => {
      const search = new ImageLookup(segments, { volume, start: 0, end, afterSeq: 0, beforeSeq: Infinity });
      for (let wanted = search.wanted(); wanted.length > 0; wanted = search.wanted()) for (const ref of wanted) search.take(ref, readPage(segments[ref.run] ?? inMemory(runOfPages([])), ref));
      return search.end;
    };
    expect([endOf(0, 12_288), endOf(1, 2 ** 40)]).toEqual([4096, 2 ** 40]);
  });

  it('shows a whole volume part by part, each of few pages, however the writes lie', () => {
    const BLOCK = 4096;
    fc.assert(fc.property(fc.nat(), (seed) => {
      const random = randomFrom(seed);
      const pick = (below: number): number => Math.floor(random() * below);
      const newest = new Map<number, number>();
      const crowd = pick(200_000);
      let seq = 0;
      const runs = Array.from({ length: 4 }, (_, i) => {
        const writes = new SegmentWrites(i + 1);
        for (let count = 0; count < 25_000; count += 1) {
          seq += 1;
          // Most in a few places, some anywhere, one block again and again.
          const block = random() < 0.3 ? crowd : random() < 0.7 ? crowd + pick(5000) : pick(2 ** 28);
          newest.set(block, seq);
          writes.addFrame({ segment: i + 1, at: 64 }, { firstSeq: seq, codec: FrameCodec.none }, { records: [{ type: RecordType.zeroes, volume: 0, offset: BLOCK * block, length: BLOCK, payload: undefined }] }, ALL);
        }
        return stored(merged(writes.runs(), () => true, random), 2 + pick(126));
      });
      const shown = new Map<number, number>();
      const parts: number[] = [];
      for (let at = 0; at < BLOCK * 2 ** 28;) {
        const search = new ImageLookup(runs, { volume: 0, start: at, end: BLOCK * 2 ** 28, afterSeq: 0, beforeSeq: Infinity });
        let pages = 0;
        for (let wanted = search.wanted(); wanted.length > 0; wanted = search.wanted()) {
          for (const ref of wanted) {
            if (!ref.isFences) pages += 1;
            search.take(ref, readPage(runs[ref.run] ?? inMemory(runOfPages([])), ref));
          }
        }
        search.image.visit(at, search.end, (start, end, piece) => {
          for (let block = Math.floor(start / BLOCK); piece !== undefined && block < end / BLOCK; block += 1) shown.set(block, piece.seq);
        });
        expect(search.end > at && (search.end - at === BLOCK || pages <= 256 + runs.length)).toBe(true);
        parts.push(pages);
        at = search.end;
      }
      expect(parts.length).toBeGreaterThan(2);
      expect(parts.length).toBeLessThan(100);
      expect([...shown].sort(([a], [b]) => a - b)).toEqual([...newest].sort(([a], [b]) => a - b));
    }), { numRuns: 2 });
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
      const search = new ImageLookup([inMemory(run)], { volume: 0, start, end: start + 20, afterSeq: 0, beforeSeq: Infinity });
      for (const ref of search.wanted()) search.take(ref, readPage(inMemory(run), ref));
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
    const read = ({ number = 5, change = () => undefined, salt = SALT, kind = 'writes', otherCrc = 0 }: {
      number?: number; change?: (bytes: Uint8Array) => void; salt?: Uint8Array; kind?: 'writes' | 'fences'; otherCrc?: number;
    }): boolean => {
      const copy = first.slice();
      sealPage(copy, { salt: SALT, number: 5, crc32c: crc32cTable });
      const pageCrc = ((copy[0] ?? 0) ^ otherCrc) >>> 0;
      change(new Uint8Array(copy.buffer));
      return openPage(copy, { salt, number, crc32c: crc32cTable, kind, pageCrc }) !== undefined;
    };
    expect(read({})).toBe(true);
    // The last: whole, but not the page that the fence is of.
    const others = [{ number: 4 }, { salt: new Uint8Array(8) }, { change: (bytes: Uint8Array) => bytes.fill(1, 4000, 4001) }, { kind: 'fences' as const }, { otherCrc: 1 }];
    expect(others.map((other) => read(other))).toEqual(others.map(() => false));
  });
});
