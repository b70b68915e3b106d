import type { Crc32c } from '@tidemark/base';
import { FrameCodec, isVolumeRecord, RECORD_BYTES } from '@tidemark/frame';
import { ENTRY_AT, entryAt, countOf, offsetAt, PACKED_BIT, seqAt, volumeOf, type IndexPage } from './index-page.js';
import type { PlacedRecords } from './kept-frame.js';
import { type MemoryRun, WriteChunk } from './memory-run.js';
import { encodeNoted, isPlain, type NotedRecord } from './segment-digest.js';
import type { FramePlace } from './types.js';

/** Where a segment's records begin and end: what says that an index belongs to it. */
export interface SegmentSpan {
  readonly segment: number;
  readonly generation: number;
  readonly firstRecordNo: number;
  readonly chainStart: number;
  /** End of the last record that counts. */
  readonly endAt: number;
  readonly recordNo: number;
  readonly chain: number;
  readonly lastSeq: number;
  readonly clockMs: number;
}

/** The index of one segment while it is written, and until its file on disk is: sorted runs of its writes, and its digest. */
export class SegmentWrites {
  #runs: MemoryRun[] = [];
  #tail = new WriteChunk();
  readonly #digest: Uint8Array[] = [];
  #digestBytes = 0;
  writeCount = 0;

  constructor(readonly segment: number) {}

  get digest(): readonly Uint8Array[] {
    return this.#digest;
  }

  get memoryBytes(): number {
    return 34 * this.writeCount + this.#digestBytes;
  }

  note(record: NotedRecord, precedingSeq: number): void {
    if (isPlain(record, precedingSeq)) return;
    const item = encodeNoted(record, precedingSeq);
    this.#digest.push(item);
    this.#digestBytes += item.byteLength;
  }

  /** Adds the volume records of a frame that are wanted. */
  addFrame(
    place: FramePlace,
    frame: { readonly firstSeq: number; readonly codec: FrameCodec },
    { records, seqs }: PlacedRecords,
    { crc32c, isWanted }: { readonly crc32c: Crc32c; readonly isWanted: (volume: number, seq: number) => boolean },
  ): void {
    const isPacked = frame.codec !== FrameCodec.none;
    let i = 0;
    // A body has one encoding only: payloads lie behind the table in record order, without gaps.
    let payloadAt = records.length * RECORD_BYTES;
    for (const { type, volume, offset, length, payload } of records) {
      const payloadBytes = payload?.byteLength ?? 0;
      const seq = seqs?.[i] ?? frame.firstSeq + i;
      if (isVolumeRecord(type) && isWanted(volume, seq)) {
        const hasPayload = payload !== undefined && payloadBytes > 0;
        this.#add(volume, {
          offset, seq, length, segment: place.segment, at: place.at,
          payloadAt: hasPayload ? payloadAt + (isPacked ? PACKED_BIT : 0) : 0,
          payloadCrc: hasPayload && !isPacked ? crc32c(payload) : 0,
        });
      }
      payloadAt += payloadBytes;
      i += 1;
    }
  }

  #add(volume: number, entry: Parameters<WriteChunk['add']>[1]): void {
    this.#tail.add(volume, entry);
    this.writeCount += 1;
    if (!this.#tail.isFull) return;
    this.#runs.push(this.#tail.runBefore(Infinity));
    this.#tail = new WriteChunk();
  }

  /** Runs that hold every write below `beforeSeq` (and maybe later ones). */
  runs(beforeSeq = Infinity): MemoryRun[] {
    const tail = this.#tail.runBefore(beforeSeq);
    return tail.pages.length === 0 ? [...this.#runs] : [...this.#runs, tail];
  }
}

/** Writes of one volume, oldest first, as columns. Input of an image map. */
export interface WriteColumns {
  readonly count: number;
  readonly offset: Float64Array;
  readonly length: Uint32Array;
  readonly seq: Float64Array;
  readonly segment: Uint32Array;
  readonly at: Uint32Array;
  /** With the bit that says "packed". */
  readonly payloadAt: Uint32Array;
  readonly payloadCrc: Uint32Array;
}

interface Wanted {
  readonly volume: number;
  readonly start: number;
  readonly end: number;
  readonly afterSeq: number;
  readonly beforeSeq: number;
}

/** Gathers the writes of pages that concern an extent of a volume, between two positions. */
export class WriteCollector {
  #found: (readonly [seq: number, page: IndexPage, at: number])[] = [];

  constructor(private readonly wanted: Wanted) {}

  take(page: IndexPage): void {
    const { volume, start, end, afterSeq, beforeSeq } = this.wanted;
    if (volumeOf(page) !== volume) return;
    for (let i = 0; i < countOf(page); i += 1) {
      const at = entryAt(i);
      const offset = offsetAt(page, at);
      if (offset >= end) return;
      if (offset + (page[at + ENTRY_AT.length] ?? 0) <= start) continue;
      const seq = seqAt(page, at);
      if (seq > afterSeq && seq < beforeSeq) this.#found.push([seq, page, at]);
    }
  }

  /** Forgets the writes for which `isKept` is false; index as in {@link columns}. */
  keep(isKept: (index: number) => boolean): void {
    this.#found = this.#found.filter((_, index) => isKept(index));
  }

  columns(): WriteColumns {
    const found = this.#found.sort(([a], [b]) => a - b);
    const count = found.length;
    const into = {
      count, offset: new Float64Array(count), length: new Uint32Array(count), seq: new Float64Array(count), segment: new Uint32Array(count),
      at: new Uint32Array(count), payloadAt: new Uint32Array(count), payloadCrc: new Uint32Array(count),
    };
    found.forEach(([seq, page, at], i) => {
      into.offset[i] = offsetAt(page, at);
      into.length[i] = page[at + ENTRY_AT.length] ?? 0;
      into.seq[i] = seq;
      into.segment[i] = page[at + ENTRY_AT.segment] ?? 0;
      into.at[i] = page[at + ENTRY_AT.at] ?? 0;
      into.payloadAt[i] = page[at + ENTRY_AT.payloadAt] ?? 0;
      into.payloadCrc[i] = page[at + ENTRY_AT.payloadCrc] ?? 0;
    });
    return into;
  }
}
