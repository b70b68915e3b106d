import { assert, type Crc32c, KiB } from '@tidemark/base';
import { FRAME_BODY_BYTES_MAX, FRAME_RECORDS_MAX, FrameCodec, type StreamRecord } from '@tidemark/frame';
import { decodeThin, encodeThin, THIN_MAX } from './control-bodies.js';
import { decodeJournalRecord, encodeSegmentHeader, isFrameKind, recordBytes, type JournalRecordHeader, type SegmentHeader } from './codec.js';
import type { SegmentSummary } from './durable-state.js';
import { decodePlaced, encodeKept, KEPT_SEQS_MAX } from './kept-frame.js';
import { JournalWriter } from './journal-writer.js';
import { JOURNAL_RECORD_HEADER_BYTES, JournalRecordKind, SEGMENT_HEADER_BYTES } from './layout.js';
import { frameHeaderOf, type DecompressBody } from './scanner.js';
import type { FrameRemains, KeptPiece, VersionSweep } from './version-sweep.js';

/** Enough for one `kept` record: a view that wants a block of a compressed one decompresses all of it. */
const GROUP_BYTES = 256 * KiB;
const GROUP_RECORDS = 4096;
/** Record headers looked at in one step: under a millisecond. */
const HEADERS_STEP = 256;

export interface CompactionParts {
  readonly crc32c: Crc32c;
  readonly decompress: DecompressBody;
  readonly compress: (codec: FrameCodec, raw: Uint8Array) => Uint8Array;
}

interface Source {
  readonly at: number;
  readonly header: JournalRecordHeader;
  remains: FrameRemains | undefined;
}

/** Frames that become one `kept` record. */
interface Group {
  readonly first: JournalRecordHeader;
  last: JournalRecordHeader;
  codec: FrameCodec;
  rawBytes: number;
  readonly records: StreamRecord[];
  readonly seqs: number[];
}

/**
 * Rewrites one sealed segment, whose records are known to hold: `sweep` until it says true, then `write` until it is done. The same number, the same place in
 * the chain: what stands before and behind it need not know. Control records stay, each in its place; a frame that a kept checkpoint shows whole stays as it is.
 */
export class SegmentCompaction {
  readonly #sources: Source[] = [];
  readonly #writer: JournalWriter;
  #at = SEGMENT_HEADER_BYTES;
  /** Sources that are not swept yet; then the next one to be written. */
  #next = 0;
  #isListed = false;
  #isDroppedSaid = false;
  #group: Group | undefined;

  constructor(
    private readonly segment: { readonly summary: SegmentSummary; readonly header: SegmentHeader; readonly bytes: Uint8Array; /** See `SegmentSwap`. */ readonly droppedIds: readonly number[] },
    private readonly parts: CompactionParts,
  ) {
    const { header, summary } = segment;
    this.#writer = new JournalWriter({ identity: header.identity, salt: header.salt, crc32c: parts.crc32c });
    const { firstRecordNo, chainStart, generation } = header;
    this.#writer.resetTo({ recordNo: firstRecordNo - 1, chain: chainStart, segment: summary.segment, generation, at: SEGMENT_HEADER_BYTES });
  }

  /** One frame, from the last to the first. True: all are known. Throws ProtocolError when a body does not decode. */
  sweep(sweep: VersionSweep): boolean {
    if (!this.#isListed) return this.#list();
    while (this.#next > 0) {
      this.#next -= 1;
      const source = this.#sources[this.#next];
      if (source === undefined || !isFrameKind(source.header.kind)) continue;
      const { header } = source;
      const remains = sweep.frame(header, decodePlaced(header, this.#raw(source)), header.kind === JournalRecordKind.baseFrame);
      const isTooLarge = remains.rawBytes > FRAME_BODY_BYTES_MAX || (remains.pieces?.length ?? 0) > FRAME_RECORDS_MAX;
      source.remains = isTooLarge ? { ...remains, pieces: undefined } : remains;
      return false;
    }
    return true;
  }

  /** Bytes of the result at most (frames of several become one; what is compressed is taken as it is now). */
  get estimatedBytes(): number {
    let bytes = SEGMENT_HEADER_BYTES;
    for (const { header, remains } of this.#sources) {
      const share = remains?.pieces === undefined || header.rawBytes === 0 ? 1 : Math.min(1, remains.rawBytes / header.rawBytes);
      if (share > 0) bytes += recordBytes(Math.ceil(header.bodyBytes * share));
    }
    return bytes;
  }

  /** The next bytes of the new file, from its header's end on; undefined: that was all. */
  write(): readonly Uint8Array[] | undefined {
    const chunks: Uint8Array[] = [];
    while (this.#next < this.#sources.length) {
      const source = this.#sources[this.#next];
      assert(source !== undefined, 'index inside the list');
      this.#next += 1;
      if (source.remains?.pieces === undefined) {
        chunks.push(...this.#flush(), ...this.#copy(source));
        return chunks;
      }
      chunks.push(...this.#take(source, source.remains, source.remains.pieces));
      if (chunks.length > 0) return chunks;
    }
    const last = [...this.#flush(), ...this.#dropped()];
    return last.length > 0 ? last : undefined;
  }

  /** When everything is written: more records than it stands for, whose numbers are those of the next segment. It must not be put in place. */
  get isTooLong(): boolean {
    return this.#writer.recordNo > (this.segment.header.compacted?.originalRecordNo ?? this.segment.summary.recordNo);
  }

  /** When everything is written: the bytes to stand at the beginning of the file, and where it ends. */
  finish(): { readonly header: Uint8Array; readonly endAt: number } {
    const { header, summary } = this.segment;
    const { at: endAt, recordNo, chain } = this.#writer;
    const original = header.compacted ?? { originalEndAt: summary.endAt, originalRecordNo: summary.recordNo, originalChain: summary.chain };
    const { originalEndAt, originalRecordNo, originalChain } = original;
    const compacted = { endAt, recordNo, chain, originalEndAt, originalRecordNo, originalChain };
    return { header: encodeSegmentHeader({ ...header, compacted }, this.parts.crc32c), endAt };
  }

  /** Where the records are. */
  #list(): boolean {
    const { header, bytes, summary } = this.segment;
    for (let i = 0; i < HEADERS_STEP && this.#at < summary.endAt; i += 1) {
      const found = decodeJournalRecord(bytes.subarray(this.#at, this.#at + JOURNAL_RECORD_HEADER_BYTES), header.salt, this.parts.crc32c);
      assert(found !== undefined, 'the segment was read through before');
      this.#sources.push({ at: this.#at, header: found, remains: undefined });
      this.#at += recordBytes(found.bodyBytes);
    }
    this.#isListed = this.#at >= summary.endAt;
    this.#next = this.#sources.length;
    return false;
  }

  /** At the end, once: which checkpoints have no image with this segment any more. */
  #dropped(): readonly Uint8Array[] {
    const last = this.#sources.at(-1)?.header;
    if (this.#isDroppedSaid || last === undefined) return [];
    this.#isDroppedSaid = true;
    const said = new Set(this.#sources.filter(({ header }) => header.kind === JournalRecordKind.thin).flatMap((source) => decodeThin(this.#body(source))));
    const ids = this.segment.droppedIds.filter((id) => !said.has(id));
    const bodies = Array.from({ length: Math.ceil(ids.length / THIN_MAX) }, (_, i) => encodeThin(ids.slice(i * THIN_MAX, (i + 1) * THIN_MAX)));
    return bodies.flatMap((body) => this.#put({ ...last, firstSeq: 0 }, last, { kind: JournalRecordKind.thin, frame: undefined, body }));
  }

  #body({ at, header }: Source): Uint8Array {
    const bodyAt = at + JOURNAL_RECORD_HEADER_BYTES;
    return this.segment.bytes.subarray(bodyAt, bodyAt + header.bodyBytes);
  }

  #raw(source: Source): Uint8Array {
    return this.parts.decompress(source.header.codec, this.#body(source), source.header.rawBytes);
  }

  #copy(source: Source): readonly Uint8Array[] {
    const { header } = source;
    return this.#put(header, header, { frame: isFrameKind(header.kind) ? frameHeaderOf(header) : undefined, body: this.#body(source), kind: header.kind });
  }

  #take(source: Source, remains: FrameRemains, pieces: readonly KeptPiece[]): readonly Uint8Array[] {
    const { header } = source;
    const chunks: Uint8Array[] = [];
    if (this.#group !== undefined && !follows(this.#group, header, remains)) chunks.push(...this.#flush());
    const group = (this.#group ??= { first: header, last: header, codec: FrameCodec.none, rawBytes: 0, records: [], seqs: [] });
    group.last = header;
    group.rawBytes += remains.rawBytes;
    if (pieces.length > 0) {
      // What was worth compressing once is again.
      if (header.codec !== FrameCodec.none) group.codec = header.codec;
      const { records, seqs } = decodePlaced(header, this.#raw(source));
      for (const piece of pieces) {
        const record = records[piece.index];
        assert(record !== undefined, 'a record of this frame');
        group.records.push(pieceOf(record, piece));
        group.seqs.push(seqs?.[piece.index] ?? header.firstSeq + piece.index);
      }
    }
    // A marker's arrival is that of its record, and the phase of a sync is judged record by record: such a frame is the last of its record.
    if (remains.hasMarks) chunks.push(...this.#flush());
    return chunks;
  }

  #flush(): readonly Uint8Array[] {
    const group = this.#group;
    if (group === undefined) return [];
    this.#group = undefined;
    const { first, last, records, seqs } = group;
    const raw = encodeKept(records, seqs, first.firstSeq);
    const packed = group.codec === FrameCodec.none || raw.byteLength === 0 ? raw : this.parts.compress(group.codec, raw);
    const isPacked = packed.byteLength < raw.byteLength;
    const body = isPacked ? packed : raw;
    const frame = {
      ...frameHeaderOf(last), firstSeq: first.firstSeq, count: records.length, bodyBytes: body.byteLength, rawBytes: raw.byteLength,
      bodyCrc: this.parts.crc32c(body), codec: isPacked ? group.codec : FrameCodec.none,
    };
    return this.#put(first, last, { frame, body, kind: JournalRecordKind.kept });
  }

  #put(
    first: JournalRecordHeader,
    { epoch, incarnation, lastSeq, clockMs, atMs }: JournalRecordHeader,
    record: { readonly kind: JournalRecordKind; readonly frame: ReturnType<typeof frameHeaderOf> | undefined; readonly body: Uint8Array },
  ): readonly Uint8Array[] {
    const pending = { ...record, epoch, incarnation, firstSeq: first.firstSeq, lastSeq, records: [], settle: undefined };
    return this.#writer.write(pending, { recordNo: this.#writer.recordNo, seq: first.committedSeq }, { clockMs, atMs }).chunks;
  }
}

/** One record's frames follow each other without a gap and are of one stream. */
function follows({ first, last, records, rawBytes }: Group, header: JournalRecordHeader, remains: FrameRemains): boolean {
  const isNext = header.firstSeq === last.lastSeq + 1 && header.epoch === last.epoch && header.incarnation === last.incarnation;
  const isWithin = rawBytes + remains.rawBytes <= GROUP_BYTES && records.length + (remains.pieces?.length ?? 0) <= GROUP_RECORDS && header.lastSeq - first.firstSeq < KEPT_SEQS_MAX;
  return isNext && isWithin && !remains.hasSyncMarks;
}

function pieceOf(record: StreamRecord, { start, end }: KeptPiece): StreamRecord {
  const { type, volume, offset, payload } = record;
  if (start === end) return record;
  return { type, volume, offset: start, length: end - start, payload: payload?.subarray(start - offset, end - offset) };
}
