import { isVolumeRecord, RecordType, type StreamRecord } from '@tidemark/frame';
import {
  decodeJournalRecord, decodePlaced, decodeSegmentHeader, isFrameKind, JOURNAL_RECORD_HEADER_BYTES, type PlacedRecords, planScan, recordBytes, SEGMENT_HEADER_BYTES, type SegmentFound,
} from '@tidemark/journal';
import { decompressBody } from '@tidemark/journal-file';
import { crc32c } from '@tidemark/link';
import type { SimDisk, SimFile } from './disk.js';

const NAME = /^(\d{10})\.segment$/;

interface Entry {
  readonly seq: number;
  readonly record: StreamRecord;
  /** End of the journal record that holds it. */
  readonly endAt: number;
}

/** What one segment file holds, read on as it grows. */
class SegmentReading {
  readonly entries: Entry[] = [];
  #at = SEGMENT_HEADER_BYTES;
  readonly #version: number;

  constructor(readonly file: SimFile) {
    this.#version = file.version;
  }

  isOf(file: SimFile): boolean {
    return this.file === file && this.#version === file.version;
  }

  readOn(salt: Uint8Array): void {
    for (;;) {
      const headerBytes = this.file.readPristine(this.#at, this.#at + JOURNAL_RECORD_HEADER_BYTES);
      if (headerBytes.byteLength < JOURNAL_RECORD_HEADER_BYTES) return;
      const header = decodeJournalRecord(headerBytes, salt, crc32c);
      if (header === undefined) return;
      const endAt = this.#at + recordBytes(header.bodyBytes);
      const bodyAt = this.#at + JOURNAL_RECORD_HEADER_BYTES;
      const body = this.file.readPristine(bodyAt, bodyAt + header.bodyBytes);
      if (endAt > this.file.sizeBytes || crc32c(body) !== header.bodyCrc) return;
      if (isFrameKind(header.kind)) this.#take(header.firstSeq, decodePlaced(header, decompressBody(header.codec, body.slice(), header.rawBytes)), endAt);
      this.#at = endAt;
    }
  }

  #take(firstSeq: number, { records, seqs }: PlacedRecords, endAt: number): void {
    records.forEach((record, index) => {
      if (isVolumeRecord(record.type)) this.entries.push({ seq: seqs?.[index] ?? firstSeq + index, record, endAt });
    });
  }
}

/**
 * Puts an image together from the files alone: mirror, then the journal's writes one after the other. Knows nothing of indexes, so a
 * journal whose index is wrong is found out by the comparison with a real view.
 */
export class JournalOracle {
  readonly #readings = new Map<number, SegmentReading>();

  constructor(private readonly disk: SimDisk, private readonly folder: string) {}

  /** The image of `volume` after the writes with `seq < beforeSeq`; the mirror has those up to `appliedSeq` itself, as views rely on. */
  image(volume: number, mirror: SimFile, { appliedSeq, beforeSeq }: { readonly appliedSeq: number; readonly beforeSeq: number }): Uint8Array {
    const image = mirror.copy();
    for (const { found, limitBytes } of planScan(this.#found()).segments) {
      const reading = this.#reading(found);
      if (reading === undefined) break;
      for (const { seq, record, endAt } of reading.entries) {
        if (seq > appliedSeq && seq < beforeSeq && record.volume === volume && endAt <= limitBytes) put(image, record);
      }
    }
    return image;
  }

  #found(): SegmentFound[] {
    return this.disk.namesIn(this.folder).flatMap((name) => {
      const number = NAME.exec(name)?.[1];
      const file = this.disk.files.get(`${this.folder}/${name}`);
      if (number === undefined || file === undefined) return [];
      const header = file.sizeBytes < SEGMENT_HEADER_BYTES ? undefined : decodeSegmentHeader(file.readPristine(0, SEGMENT_HEADER_BYTES).slice(), crc32c);
      return [{ segment: Number(number), fileBytes: file.sizeBytes, header }];
    });
  }

  #reading({ segment, header }: SegmentFound): SegmentReading | undefined {
    const file = this.disk.files.get(`${this.folder}/${String(segment).padStart(10, '0')}.segment`);
    if (file === undefined || header === undefined) return undefined;
    let reading = this.#readings.get(segment);
    if (reading?.isOf(file) !== true) {
      reading = new SegmentReading(file);
      this.#readings.set(segment, reading);
    }
    reading.readOn(header.salt);
    return reading;
  }
}

function put(image: Uint8Array, { type, offset, length, payload }: StreamRecord): void {
  if (type === RecordType.zeroes || type === RecordType.syncZeroes || payload === undefined) image.fill(0, offset, offset + length);
  else image.set(payload, offset);
}
