import { assert } from '@tidemark/base';
import { isVolumeRecord, type StreamRecord } from '@tidemark/frame';
import { decodeSegmentHeader } from '../codec.js';
import type { SegmentFound } from '../scanner.js';
import { crc32cTable } from '@tidemark/base/testing';

export type Random = () => number;

/** mulberry32 */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const SECTOR = 512;

interface SimFile {
  bytes: Uint8Array;
  /** Everything below survives a crash. */
  syncedBytes: number;
}

interface SimMirror {
  readonly bytes: Uint8Array;
  readonly durable: Uint8Array;
  unsynced: { readonly offset: number; readonly bytes: Uint8Array; readonly count: number }[];
}

/** Segment files and mirrors that lose, tear and reorder what was not synced. */
export class JournalDisk {
  readonly files = new Map<number, SimFile>();
  readonly mirrors: SimMirror[];
  mirrorWriteCount = 0;

  constructor(volumeBytes: readonly number[]) {
    this.mirrors = volumeBytes.map((bytes) => ({ bytes: new Uint8Array(bytes), durable: new Uint8Array(bytes), unsynced: [] }));
  }

  create(segment: number, header: Uint8Array): void {
    this.files.set(segment, { bytes: header.slice(), syncedBytes: header.byteLength });
  }

  append(segment: number, at: number, chunks: readonly Uint8Array[]): void {
    const file = this.#file(segment);
    assert(file.bytes.byteLength === at, 'appends go to the end of the file');
    const size = chunks.reduce((sum, chunk) => sum + chunk.byteLength, at);
    const bytes = new Uint8Array(size);
    bytes.set(file.bytes);
    let to = at;
    for (const chunk of chunks) {
      bytes.set(chunk, to);
      to += chunk.byteLength;
    }
    file.bytes = bytes;
  }

  sync(segment: number, upTo = this.#file(segment).bytes.byteLength): void {
    const file = this.#file(segment);
    file.syncedBytes = Math.max(file.syncedBytes, upTo);
  }

  sizeOf(segment: number): number {
    return this.#file(segment).bytes.byteLength;
  }

  truncate(segment: number, bytes: number): void {
    const file = this.#file(segment);
    file.bytes = file.bytes.slice(0, bytes);
    file.syncedBytes = file.bytes.byteLength;
  }

  remove(segment: number): void {
    this.files.delete(segment);
  }

  writeMirror(record: StreamRecord): void {
    const mirror = this.mirrors[record.volume];
    assert(mirror !== undefined && isVolumeRecord(record.type), 'a record of a volume');
    const bytes = record.payload?.slice() ?? new Uint8Array(record.length);
    mirror.bytes.set(bytes, record.offset);
    this.mirrorWriteCount += 1;
    mirror.unsynced.push({ offset: record.offset, bytes, count: this.mirrorWriteCount });
  }

  /** The first `upTo` writes are durable. */
  syncMirrors(upTo = this.mirrorWriteCount): void {
    for (const mirror of this.mirrors) {
      for (const { offset, bytes, count } of mirror.unsynced) if (count <= upTo) mirror.durable.set(bytes, offset);
      mirror.unsynced = mirror.unsynced.filter(({ count }) => count > upTo);
    }
  }

  /** Power failure: of what was not synced any sectors survive, in any order, and files are as long as they happen to be. */
  crash(random: Random): void {
    for (const file of this.files.values()) this.#crashFile(file, random);
    for (const mirror of this.mirrors) {
      for (const { offset, bytes } of mirror.unsynced) {
        for (let at = 0; at < bytes.byteLength; at += SECTOR) {
          if (random() < 0.5) mirror.durable.set(bytes.subarray(at, at + SECTOR), offset + at);
        }
      }
      mirror.bytes.set(mirror.durable);
      mirror.unsynced = [];
    }
  }

  #crashFile(file: SimFile, random: Random): void {
    const size = file.bytes.byteLength;
    const length = file.syncedBytes + Math.floor(random() * (size - file.syncedBytes + 1));
    const style = random();
    const lossRate = style < 0.3 ? 0 : style < 0.6 ? 0.1 : 0.5;
    const bytes = file.bytes.slice(0, random() < 0.3 ? size : length);
    for (let at = file.syncedBytes; at < bytes.byteLength;) {
      const end = Math.min(bytes.byteLength, (Math.floor(at / SECTOR) + 1) * SECTOR);
      if (random() < lossRate) bytes.fill(0, at, end);
      at = end;
    }
    file.bytes = bytes;
    file.syncedBytes = bytes.byteLength;
  }

  found(): SegmentFound[] {
    return [...this.files].map(([segment, { bytes }]) => ({ segment, fileBytes: bytes.byteLength, header: decodeSegmentHeader(bytes, crc32cTable) }));
  }

  read(segment: number, bytes: number): Uint8Array {
    return this.#file(segment).bytes.slice(0, bytes);
  }

  #file(segment: number): SimFile {
    const file = this.files.get(segment);
    assert(file !== undefined, `segment ${segment} exists`);
    return file;
  }
}
