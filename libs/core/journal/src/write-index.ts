import { isVolumeRecord, RECORD_BYTES, type StreamRecord } from '@tidemark/frame';
import type { FramePlace } from './types.js';

const CHUNK_ENTRIES = 16_384;

/** 34 bytes an entry, in columns: 10^6 retained writes take 34 MB. */
class IndexChunk {
  count = 0;
  readonly seq = new Float64Array(CHUNK_ENTRIES);
  readonly offset = new Float64Array(CHUNK_ENTRIES);
  readonly length = new Uint32Array(CHUNK_ENTRIES);
  readonly segment = new Uint32Array(CHUNK_ENTRIES);
  readonly at = new Uint32Array(CHUNK_ENTRIES);
  /** From the start of the decompressed body; 0: the range reads as zeroes (a payload never starts before the record table ends). */
  readonly payloadAt = new Uint32Array(CHUNK_ENTRIES);
  readonly volume = new Uint16Array(CHUNK_ENTRIES);
}

/** Writes of one volume, oldest first, as columns. Input of `flattenWrites`. */
export interface WriteColumns {
  readonly count: number;
  readonly offset: Float64Array;
  readonly length: Uint32Array;
  readonly segment: Uint32Array;
  readonly at: Uint32Array;
  readonly payloadAt: Uint32Array;
}

/** All writes that the journal holds and the mirrors may not: in stream order, dropped from the front as they are applied. */
export class WriteIndex {
  readonly #chunks: IndexChunk[] = [];
  #count = 0;
  /** Entries of the first chunk that are dropped already. */
  #dropped = 0;

  get count(): number {
    return this.#count;
  }

  /** Adds the volume records of a frame, but those that the mirrors hold already; record i of the frame has seq `firstSeq + i`. */
  addFrame(place: FramePlace, firstSeq: number, records: readonly StreamRecord[], isWanted: (volume: number, seq: number) => boolean = () => true): void {
    let seq = firstSeq;
    // A body has one encoding only: payloads lie behind the table in record order, without gaps.
    let payloadAt = records.length * RECORD_BYTES;
    for (const record of records) {
      const payloadBytes = record.payload?.byteLength ?? 0;
      if (isVolumeRecord(record.type) && isWanted(record.volume, seq)) this.#add(place, seq, record, payloadBytes === 0 ? 0 : payloadAt);
      payloadAt += payloadBytes;
      seq += 1;
    }
  }

  #add(place: FramePlace, seq: number, record: StreamRecord, payloadAt: number): void {
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || chunk.count === CHUNK_ENTRIES) {
      chunk = new IndexChunk();
      this.#chunks.push(chunk);
    }
    const i = chunk.count;
    chunk.seq[i] = seq;
    chunk.offset[i] = record.offset;
    chunk.length[i] = record.length;
    chunk.segment[i] = place.segment;
    chunk.at[i] = place.at;
    chunk.payloadAt[i] = payloadAt;
    chunk.volume[i] = record.volume;
    chunk.count = i + 1;
    this.#count += 1;
  }

  /** Forgets entries with seq <= `seq`: the mirrors hold them durably. */
  dropThrough(seq: number): void {
    for (let chunk = this.#chunks[0]; chunk !== undefined; chunk = this.#chunks[0]) {
      while (this.#dropped < chunk.count && (chunk.seq[this.#dropped] ?? 0) <= seq) {
        this.#dropped += 1;
        this.#count -= 1;
      }
      if (this.#dropped < CHUNK_ENTRIES) return;
      this.#chunks.shift();
      this.#dropped = 0;
    }
  }

  /** The writes of one volume with seq < `beforeSeq`, copied. */
  columns(volume: number, beforeSeq: number): WriteColumns {
    const count = this.#countOf(volume, beforeSeq);
    const into = {
      count,
      offset: new Float64Array(count),
      length: new Uint32Array(count),
      segment: new Uint32Array(count),
      at: new Uint32Array(count),
      payloadAt: new Uint32Array(count),
    };
    let to = 0;
    this.#visit(beforeSeq, (chunk, i) => {
      if (chunk.volume[i] !== volume) return;
      into.offset[to] = chunk.offset[i] ?? 0;
      into.length[to] = chunk.length[i] ?? 0;
      into.segment[to] = chunk.segment[i] ?? 0;
      into.at[to] = chunk.at[i] ?? 0;
      into.payloadAt[to] = chunk.payloadAt[i] ?? 0;
      to += 1;
    });
    return into;
  }

  /** The frames that hold entries with seq <= `throughSeq`, oldest first, until they cover `bytesMax` of volume; `lastSeq` of the last entry taken. */
  nextFrames(throughSeq: number, bytesMax: number): { readonly frames: FramePlace[]; readonly lastSeq: number } {
    const frames: FramePlace[] = [];
    let bytes = 0;
    let lastSeq = 0;
    this.#visit(throughSeq + 1, (chunk, i) => {
      const segment = chunk.segment[i] ?? 0;
      const at = chunk.at[i] ?? 0;
      const last = frames.at(-1);
      const isSameFrame = last !== undefined && last.segment === segment && last.at === at;
      if (!isSameFrame && bytes >= bytesMax) return false;
      if (!isSameFrame) frames.push({ segment, at });
      bytes += chunk.length[i] ?? 0;
      lastSeq = chunk.seq[i] ?? 0;
      return true;
    });
    return { frames, lastSeq };
  }

  #countOf(volume: number, beforeSeq: number): number {
    let count = 0;
    this.#visit(beforeSeq, (chunk, i) => {
      if (chunk.volume[i] === volume) count += 1;
    });
    return count;
  }

  #visit(beforeSeq: number, visit: (chunk: IndexChunk, i: number) => boolean | void): void {
    let from = this.#dropped;
    for (const chunk of this.#chunks) {
      for (let i = from; i < chunk.count; i += 1) {
        if ((chunk.seq[i] ?? 0) >= beforeSeq) return;
        if (visit(chunk, i) === false) return;
      }
      from = 0;
    }
  }
}
