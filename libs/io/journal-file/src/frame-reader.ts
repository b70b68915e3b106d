import { type Crc32c, KiB } from '@tidemark/base';
import {
  decodeJournalRecord, decodePlaced, type FramePlace, type ImagePiece, JOURNAL_RECORD_HEADER_BYTES, isFrameKind, JournalError, type JournalRecordHeader, type PlacedRecords,
} from '@tidemark/journal';
import type { CacheShare } from './read-cache.js';
import type { SegmentFiles } from './segment-files.js';
import type { Decompress } from './types.js';

/** A payload of an uncompressed frame that is at most this long is read and checked by itself; a longer one is kept for the next read. */
const ALONE_BYTES_MAX = 64 * KiB;

const keyOf = ({ segment, at }: FramePlace, payloadAt = 0): string => `${segment}:${at}:${payloadAt}`;

/**
 * What frames hold, read back from the journal and checked. Of an uncompressed frame one write's payload is read alone, against its checksum in the index; of
 * a compressed one the body, whole. Keeps the most recently used bodies within a bound: a guest that boots reads the same frames over and over.
 */
export class FrameReader {
  readonly #underWay = new Map<string, Promise<Uint8Array>>();

  constructor(
    private readonly parts: {
      readonly segments: SegmentFiles;
      readonly salt: () => Uint8Array;
      readonly crc32c: Crc32c;
      readonly decompress: Decompress;
      readonly cache: CacheShare<Uint8Array>;
    },
  ) {}

  /**
   * Fills `target` with what a run of an image shows (not zeroes). Throws JOURNAL_CORRUPT when the bytes are not what was written, or what reading gives.
   */
  read(piece: ImagePiece, target: Uint8Array): Promise<void> | undefined {
    const { isPacked, payloadBytes } = piece;
    if (!isPacked && payloadBytes <= ALONE_BYTES_MAX) return this.#readAlone(piece, target);
    const key = isPacked ? keyOf(piece) : keyOf(piece, piece.payloadAt - piece.skip);
    const from = isPacked ? piece.payloadAt : piece.skip;
    const cached = this.parts.cache.get(key);
    if (cached === undefined) return this.#readKept(key, piece, { target, from });
    target.set(cached.subarray(from, from + target.byteLength));
    return undefined;
  }

  async #readAlone(piece: ImagePiece, target: Uint8Array): Promise<void> {
    const isWhole = target.byteLength === piece.payloadBytes;
    const payload = isWhole ? target : new Uint8Array(piece.payloadBytes);
    await this.#readPayload(piece, payload);
    if (!isWhole) target.set(payload.subarray(piece.skip, piece.skip + target.byteLength));
  }

  async #readPayload(piece: ImagePiece, payload: Uint8Array): Promise<void> {
    const { segment, at, payloadAt, skip, payloadCrc } = piece;
    await this.parts.segments.use(segment, async (handle) => await handle.readFully(payload, at + JOURNAL_RECORD_HEADER_BYTES + payloadAt - skip));
    if (this.parts.crc32c(payload) !== payloadCrc) throw corrupt(piece);
  }

  async #readKept(key: string, piece: ImagePiece, { target, from }: { readonly target: Uint8Array; readonly from: number }): Promise<void> {
    const bytes = await this.#kept(key, async () => {
      if (piece.isPacked) return await this.#read(piece);
      const payload = new Uint8Array(piece.payloadBytes);
      await this.#readPayload(piece, payload);
      return payload;
    });
    target.set(bytes.subarray(from, from + target.byteLength));
  }

  async #kept(key: string, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const cached = this.parts.cache.get(key);
    if (cached !== undefined) return cached;
    const underWay = this.#underWay.get(key);
    if (underWay !== undefined) return await underWay;
    const reading = read();
    this.#underWay.set(key, reading);
    try {
      const bytes = await reading;
      this.parts.cache.put(key, bytes);
      return bytes;
    } finally {
      this.#underWay.delete(key);
    }
  }

  /** No view is open any more, or segments have become other files. */
  forget(): void {
    this.parts.cache.clear();
  }

  /** The record at `place`; of a frame its stream records too, uncached: for apply, which reads every frame once. */
  async record(place: FramePlace): Promise<PlacedRecords & { readonly header: JournalRecordHeader }> {
    const header = await this.#header(place);
    if (!isFrameKind(header.kind)) return { header, records: [], seqs: undefined };
    return { header, ...decodePlaced(header, await this.#raw(place, header)) };
  }

  /** The body of the frame that holds this write. Another whole frame may lie in its place, of a write that the disk put there. */
  async #read(piece: ImagePiece): Promise<Uint8Array> {
    const header = await this.#header(piece);
    if (!isFrameKind(header.kind) || piece.seq < header.firstSeq || piece.seq > header.lastSeq) throw corrupt(piece);
    return await this.#raw(piece, header);
  }

  async #header({ segment, at }: FramePlace): Promise<JournalRecordHeader> {
    const bytes = new Uint8Array(JOURNAL_RECORD_HEADER_BYTES);
    await this.parts.segments.use(segment, async (handle) => await handle.readFully(bytes, at));
    const header = decodeJournalRecord(bytes, this.parts.salt(), this.parts.crc32c);
    if (header === undefined) throw corrupt({ segment, at });
    return header;
  }

  async #raw(place: FramePlace, header: JournalRecordHeader): Promise<Uint8Array> {
    const { segments, crc32c, decompress } = this.parts;
    const body = new Uint8Array(header.bodyBytes);
    await segments.use(place.segment, async (handle) => await handle.readFully(body, place.at + JOURNAL_RECORD_HEADER_BYTES));
    if (crc32c(body) !== header.bodyCrc) throw corrupt(place);
    return decompress(header.codec, body, header.rawBytes);
  }
}

const corrupt = ({ segment, at }: FramePlace): JournalError =>
  new JournalError('JOURNAL_CORRUPT', `frame in segment ${segment} at byte ${at} does not read back as it was written`);
