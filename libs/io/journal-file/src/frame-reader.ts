import type { Crc32c } from '@tidemark/base';
import {
  decodeFrameBody, decodeJournalRecord, type FramePlace, JOURNAL_RECORD_HEADER_BYTES, isFrameKind, JournalError, type JournalRecordHeader,
} from '@tidemark/journal';
import type { StreamRecord } from '@tidemark/frame';
import type { SegmentFiles } from './segment-files.js';
import type { Decompress } from './types.js';

const keyOf = ({ segment, at }: FramePlace): number => segment * 2 ** 32 + at;

/**
 * Frames read back from the journal, checked against their checksum and decompressed. Keeps the most recently used ones within a bound: a
 * guest that boots reads the same frames over and over.
 */
export class FrameReader {
  /** Least recently used first. */
  readonly #cache = new Map<number, Uint8Array>();
  readonly #underWay = new Map<number, Promise<Uint8Array>>();
  #cachedBytes = 0;

  constructor(
    private readonly parts: {
      readonly segments: SegmentFiles;
      readonly salt: () => Uint8Array;
      readonly crc32c: Crc32c;
      readonly decompress: Decompress;
      readonly cacheBytesMax: number;
    },
  ) {}

  /** The decompressed body if it is in memory. */
  cached(place: FramePlace): Uint8Array | undefined {
    const key = keyOf(place);
    const body = this.#cache.get(key);
    if (body === undefined) return undefined;
    this.#cache.delete(key);
    this.#cache.set(key, body);
    return body;
  }

  /** The decompressed body. Throws JOURNAL_CORRUPT when the bytes are not what was written, JOURNAL_IO when they cannot be read. */
  async body(place: FramePlace): Promise<Uint8Array> {
    const cached = this.cached(place);
    if (cached !== undefined) return cached;
    const key = keyOf(place);
    const underWay = this.#underWay.get(key);
    if (underWay !== undefined) return await underWay;
    const reading = this.#read(place).then(({ raw }) => raw);
    this.#underWay.set(key, reading);
    try {
      const raw = await reading;
      this.#keep(key, raw);
      return raw;
    } finally {
      this.#underWay.delete(key);
    }
  }

  /** The frame with its records, uncached: for apply, which reads every frame once. */
  async records(place: FramePlace): Promise<{ readonly firstSeq: number; readonly records: readonly StreamRecord[] }> {
    const { header, raw } = await this.#read(place);
    return { firstSeq: header.firstSeq, records: decodeFrameBody(header, raw) };
  }

  async #read(place: FramePlace): Promise<{ readonly header: JournalRecordHeader; readonly raw: Uint8Array }> {
    const { segments, crc32c, decompress, salt } = this.parts;
    const handle = await segments.handle(place.segment);
    const headerBytes = new Uint8Array(JOURNAL_RECORD_HEADER_BYTES);
    await handle.readFully(headerBytes, place.at);
    const header = decodeJournalRecord(headerBytes, salt(), crc32c);
    if (header === undefined || !isFrameKind(header.kind)) throw corrupt(place);
    const body = new Uint8Array(header.bodyBytes);
    await handle.readFully(body, place.at + JOURNAL_RECORD_HEADER_BYTES);
    if (crc32c(body) !== header.bodyCrc) throw corrupt(place);
    return { header, raw: decompress(header.codec, body, header.rawBytes) };
  }

  #keep(key: number, body: Uint8Array): void {
    this.#cache.set(key, body);
    this.#cachedBytes += body.byteLength;
    for (const [oldKey, old] of this.#cache) {
      if (this.#cachedBytes <= this.parts.cacheBytesMax || oldKey === key) return;
      this.#cache.delete(oldKey);
      this.#cachedBytes -= old.byteLength;
    }
  }
}

const corrupt = ({ segment, at }: FramePlace): JournalError =>
  new JournalError('JOURNAL_CORRUPT', `frame in segment ${segment} at byte ${at} does not read back as it was written`);
