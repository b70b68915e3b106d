import { assert, viewOf, type Crc32c } from '@tidemark/base';
import { FrameKind, type FrameCodec, type FrameHeader } from '@tidemark/frame';
import { decodeJournalRecord, expectedChain, isEqual, isSealedByUs, recordBytes, saltOfFirstRecord, type CompactedEnds, type JournalRecordHeader, type SegmentHeader } from './codec.js';
import { judgeBreak, type BreakVerdict } from './recovery-table.js';
import { JOURNAL_RECORD_AT, JOURNAL_RECORD_HEADER_BYTES, JournalRecordKind, RECORD_ALIGN_BYTES, RECORD_MAGIC, SEGMENT_HEADER_BYTES } from './layout.js';

export type DecompressBody = (codec: FrameCodec, body: Uint8Array, rawBytes: number) => Uint8Array;

/** A segment file as found. `header` is undefined when its first bytes are not a valid one. */
export interface SegmentFound {
  readonly segment: number;
  readonly fileBytes: number;
  readonly header: SegmentHeader | undefined;
}

/** Where the scan could not go on. */
export interface ScanBreak {
  readonly segment: number;
  readonly at: number;
  readonly verdict: Exclude<BreakVerdict, 'complete'>;
  readonly why: string;
}

/** What a found record holds, its checksums and chain verified. */
export interface FoundRecord {
  readonly header: JournalRecordHeader;
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly endAt: number;
  readonly body: Uint8Array;
}

export interface ScanPlan {
  /** To be read in this order; `limitBytes`: what lies beyond belongs to nobody. */
  readonly segments: readonly { readonly found: SegmentFound; readonly limitBytes: number }[];
  /** A file whose creation never finished: to be removed. */
  readonly leftover: number | undefined;
  /** What a later generation has cut off, from this byte on: whole files, and ends of files that are read up to there. */
  readonly leftOut: readonly { readonly found: SegmentFound; readonly fromBytes: number }[];
  readonly highestSegment: number;
}

/**
 * Which segments form the journal: from the last one back along "resumes at". A later generation says where the valid part of the one before
 * ends; files behind that place are left out, and left alone.
 */
export function planScan(files: readonly SegmentFound[]): ScanPlan {
  const sorted = [...files].sort((a, b) => a.segment - b.segment);
  const highestSegment = sorted.at(-1)?.segment ?? 0;
  // The header is durable before the first record is written: a file without one that holds no more is a creation that a crash stopped. Where storage fails for a while
  // one creation after the other stops there, and then comes a power loss.
  const isUnmade = (found: SegmentFound | undefined): boolean => found !== undefined && found.header === undefined && found.fileBytes <= SEGMENT_HEADER_BYTES;
  const last = sorted.at(-1);
  const segments: { found: SegmentFound; limitBytes: number }[] = [];
  let limitBytes = Infinity;
  for (let at = sorted.findLastIndex((found) => !isUnmade(found)); at >= 0;) {
    const found = sorted[at];
    assert(found !== undefined, 'index inside the list');
    // A compacted segment says itself where it ends; the next one knows where the original did, unless a new generation cuts it short.
    const compacted = found.header?.compacted;
    const isCut = compacted?.originalEndAt !== limitBytes;
    segments.unshift({ found, limitBytes: Math.min(compacted === undefined || isCut ? limitBytes : compacted.endAt, found.fileBytes) });
    if (found.header?.resumesSegment === 0) break;
    limitBytes = found.header?.resumesAt ?? Infinity;
    const before = found.header?.resumesSegment;
    // Nobody knows where one that does not read went on from: from none that was never made, and what it had cut off may be gone.
    at = before === undefined ? sorted.slice(0, at).findLastIndex((each) => !isUnmade(each)) : sorted.findIndex(({ segment }) => segment === before);
  }
  const limits = new Map(segments.map(({ found, limitBytes: readBytes }) => [found, readBytes]));
  const leftOut = sorted.map((found) => ({ found, fromBytes: limits.get(found) ?? SEGMENT_HEADER_BYTES })).filter(({ found, fromBytes }) => fromBytes < found.fileBytes);
  return { segments, leftover: isUnmade(last) ? last?.segment : undefined, leftOut, highestSegment };
}

/** What a new generation begins with. Until both are durable it tells nothing, and nothing was told of it. */
const GENERATION_BEGINS_WITH: readonly JournalRecordKind[] = [JournalRecordKind.state, JournalRecordKind.generation];
/** What stands for segments that are gone: they were freed behind it. */
const REST_BEGINS_WITH: readonly JournalRecordKind[] = [JournalRecordKind.state];

/** What must be found at the beginning of this segment for anything before it to be known. */
function beginningOf({ generation, resumesSegment }: SegmentHeader, known: number | undefined): readonly JournalRecordKind[] {
  if (known === undefined) return resumesSegment > 0 ? REST_BEGINS_WITH : generation > 1 ? GENERATION_BEGINS_WITH : [];
  return generation > known ? GENERATION_BEGINS_WITH : [];
}

export interface ScannerOptions {
  readonly crc32c: Crc32c;
  /** Of the journal, when an intact header told it: records behind a break are found by it, also when the break is the first header itself. */
  readonly salt?: Uint8Array | undefined;
  /** Highest stream position that is known to have been acknowledged; 0: nothing known. */
  readonly ackedSeq?: number;
  /** Called for every valid record in order. False: it decodes to nonsense although its checksums hold. */
  readonly take: (record: FoundRecord, segment: number) => boolean;
  readonly beginSegment: (header: SegmentHeader) => void;
  /** Called for whole records of this journal found behind a break: their own checksums hold, their chain is unknown. */
  readonly foundBehind?: (record: Pick<FoundRecord, 'header' | 'body'>) => void;
}

/** Reads segments in the order of a plan and says where the valid part ends and why. Keeps no bytes. */
export class JournalScanner {
  recordNo: number | undefined;
  chain = 0;
  lastSeq = 0;
  #salt: Uint8Array | undefined;
  #break: { segment: number; at: number; isCleanEnd: boolean; isNonsense: boolean } | undefined;
  #laterRecordNo = 0;
  #laterCommittedNo = 0;
  #generation: number | undefined;
  /** Records that the newest generation, or what is left of the journal, must begin with and that have not been read yet. */
  #missing: readonly JournalRecordKind[] = [];

  constructor(private readonly options: ScannerOptions) {
    this.#salt = options.salt;
  }

  /** undefined: nothing read so far tells it. */
  get salt(): Uint8Array | undefined {
    return this.#salt;
  }

  /** Where {@link step} goes on. */
  #reading: { readonly segment: number; readonly compacted: CompactedEnds | undefined; readonly bytes: Uint8Array; at: number } | undefined;

  /** `bytes`: the whole file, or its part up to the limit. Segments after a break are only looked at for what they say about it. */
  segment(found: SegmentFound, bytes: Uint8Array): void {
    this.begin(found, bytes);
    while (!this.step(Infinity));
  }

  /** As {@link segment}, in steps. */
  begin(found: SegmentFound, bytes: Uint8Array): void {
    const { header } = found;
    this.#salt ??= header?.salt ?? saltOfFirstRecord(bytes, this.options.crc32c);
    if (this.#break !== undefined) {
      this.#noteLater(header);
      this.#probe(bytes, SEGMENT_HEADER_BYTES);
      return;
    }
    if (header === undefined || !this.#follows(header)) {
      this.#break = { segment: found.segment, at: 0, isCleanEnd: header !== undefined, isNonsense: false };
      this.#noteBrokenHeader(header);
      this.#probe(bytes, SEGMENT_HEADER_BYTES);
      return;
    }
    this.#begin(header);
    this.#reading = { segment: found.segment, compacted: header.compacted, bytes, at: SEGMENT_HEADER_BYTES };
  }

  /** A sealed segment that need not be read: `end` is known of it. False: it does not follow what was read. */
  skip(header: SegmentHeader, end: { readonly recordNo: number; readonly chain: number; readonly lastSeq: number; readonly endAt: number }): boolean {
    if (this.#break !== undefined || !this.#follows(header)) return false;
    this.#salt = header.salt;
    this.#generation = header.generation;
    this.#missing = [];
    const compacted = header.compacted?.endAt === end.endAt ? header.compacted : undefined;
    this.recordNo = compacted?.originalRecordNo ?? end.recordNo;
    this.chain = compacted?.originalChain ?? end.chain;
    this.lastSeq = end.lastSeq;
    return true;
  }

  /** Byte of its segment where the reading could not go on; undefined: it could so far. */
  get position(): number | undefined {
    return this.#break?.at;
  }

  /** After the last segment of the plan. */
  finish(): ScanBreak | undefined {
    const end = this.#break;
    const expected = (this.recordNo ?? 0) + 1;
    if (this.isUnproven) {
      // The files before it are cut off already, and what it was to say about them is not there: it may be that the mirrors are further than they are.
      const { segment, at } = end ?? { segment: 0, at: 0 };
      return { segment, at, verdict: 'corrupt', why: `record ${expected}: generation ${this.#generation ?? 0} goes on here, and the records that it begins with are not there` };
    }
    if (end === undefined) return this.#judgeCleanEnd();
    if (end.isNonsense) {
      return { segment: end.segment, at: end.at, verdict: 'corrupt', why: `record ${expected} has valid checksums but does not decode` };
    }
    const facts = {
      isCleanEnd: end.isCleanEnd,
      hasLater: this.#laterRecordNo > expected,
      isCommitted: this.#laterCommittedNo >= expected,
      isAcked: this.#isAcked(),
    };
    const { verdict, why } = judgeBreak(facts);
    assert(verdict !== 'complete', 'a break is never a complete end');
    return { segment: end.segment, at: end.at, verdict, why: `record ${expected} in segment ${end.segment} at byte ${end.at}: ${why}` };
  }

  #judgeCleanEnd(): ScanBreak | undefined {
    const { verdict, why } = judgeBreak({ isCleanEnd: true, hasLater: false, isCommitted: false, isAcked: this.#isAcked() });
    return verdict === 'complete' ? undefined : { segment: 0, at: 0, verdict, why: `journal ends at stream position ${this.lastSeq}: ${why}` };
  }

  #isAcked(): boolean {
    return this.lastSeq < (this.options.ackedSeq ?? 0);
  }

  #follows(header: SegmentHeader): boolean {
    if (this.recordNo === undefined) return header.firstRecordNo > 0;
    const isSameJournal = this.#salt !== undefined && isEqual(header.salt, this.#salt);
    return isSameJournal && header.firstRecordNo === this.recordNo + 1 && header.chainStart === this.chain;
  }

  #begin(header: SegmentHeader): void {
    this.recordNo ??= header.firstRecordNo - 1;
    this.chain = header.chainStart;
    this.#salt = header.salt;
    const beginning = beginningOf(header, this.#generation);
    if (beginning.length > 0) this.#missing = beginning;
    this.#generation = header.generation;
    this.options.beginSegment(header);
  }

  /** Reads on for some `bytesMax` bytes. True: the segment is read. */
  step(bytesMax: number): boolean {
    const reading = this.#reading;
    if (reading === undefined) return true;
    const { segment, bytes } = reading;
    const stop = Math.min(bytes.byteLength, reading.at + bytesMax);
    while (reading.at < stop) {
      const { at } = reading;
      const record = this.#recordAt(bytes, at);
      const isTaken = record !== undefined && this.options.take(record, segment);
      if (!isTaken) {
        this.#break = { segment, at, isCleanEnd: false, isNonsense: record !== undefined || this.#isUnknown(bytes, at) };
        this.#probe(bytes, at);
        reading.at = bytes.byteLength;
        break;
      }
      this.recordNo = record.header.recordNo;
      this.chain = record.header.chain;
      this.lastSeq = record.header.lastSeq;
      if (record.header.kind === this.#missing[0]) this.#missing = this.#missing.slice(1);
      reading.at = record.endAt;
    }
    if (reading.at < bytes.byteLength) return false;
    if (this.#break === undefined) this.#endCompacted(segment, reading.compacted, bytes.byteLength);
    this.#reading = undefined;
    return true;
  }

  /** What follows a compacted segment continues from where the records ended that it stands for. */
  #endCompacted(segment: number, ends: CompactedEnds | undefined, at: number): void {
    // A new generation has cut it short, or its header does not follow now.
    if (ends === undefined || at < ends.endAt) return;
    if (ends.endAt !== at || ends.recordNo !== this.recordNo || ends.chain !== this.chain) {
      this.#break = { segment, at, isCleanEnd: false, isNonsense: false };
      return;
    }
    this.recordNo = ends.originalRecordNo;
    this.chain = ends.originalChain;
  }

  /** The record at `at` if its header, chain and body hold and it is the next one. */
  #recordAt(bytes: Uint8Array, at: number): FoundRecord | undefined {
    const header = this.#headerAt(bytes, at);
    if (header === undefined || header.recordNo !== (this.recordNo ?? 0) + 1) return undefined;
    const headerBytes = bytes.subarray(at, at + JOURNAL_RECORD_HEADER_BYTES);
    if (header.chain !== expectedChain(headerBytes, this.chain, this.options.crc32c)) return undefined;
    const endAt = at + recordBytes(header.bodyBytes);
    if (endAt > bytes.byteLength) return undefined;
    const body = bytes.subarray(at + JOURNAL_RECORD_HEADER_BYTES, at + JOURNAL_RECORD_HEADER_BYTES + header.bodyBytes);
    if (this.options.crc32c(body) !== header.bodyCrc) return undefined;
    return { header, bytes: headerBytes, at, endAt, body };
  }

  /** A whole header that this code does not understand: never cut. */
  #isUnknown(bytes: Uint8Array, at: number): boolean {
    if (this.#salt === undefined || at + JOURNAL_RECORD_HEADER_BYTES > bytes.byteLength || this.#headerAt(bytes, at) !== undefined) return false;
    return isSealedByUs(bytes.subarray(at, at + JOURNAL_RECORD_HEADER_BYTES), this.#salt, this.options.crc32c);
  }

  #headerAt(bytes: Uint8Array, at: number): JournalRecordHeader | undefined {
    if (this.#salt === undefined || at + JOURNAL_RECORD_HEADER_BYTES > bytes.byteLength) return undefined;
    return decodeJournalRecord(bytes.subarray(at, at + JOURNAL_RECORD_HEADER_BYTES), this.#salt, this.options.crc32c);
  }

  /**
   * Looks for records of this journal behind the break: those with higher numbers tell whether it is a torn tail. What the others say must not be forgotten either: where a header does not
   * read, the file before it may be of a generation that was longer.
   */
  #probe(bytes: Uint8Array, from: number): void {
    const expected = (this.recordNo ?? 0) + 1;
    for (const header of this.#probed(bytes, from)) {
      if (header.recordNo <= expected) continue;
      this.#laterRecordNo = Math.max(this.#laterRecordNo, header.recordNo);
      this.#laterCommittedNo = Math.max(this.#laterCommittedNo, header.committedRecordNo);
    }
  }

  /** The newest generation began, and what it begins with is not there. */
  get isUnproven(): boolean {
    return this.#missing.length > 0;
  }

  /** After the plan: what a later generation has cut off says what must not be forgotten, where that generation's own word is not there. */
  leftOut(bytes: Uint8Array, from: number): void {
    for (const _ of this.#probed(bytes, from));
  }

  /** Headers of records: they start at multiples of 64 bytes, and nobody else knows the salt. Whole records are handed over. */
  * #probed(bytes: Uint8Array, from: number): Generator<JournalRecordHeader> {
    const view = viewOf(bytes);
    for (let at = from; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength; at += RECORD_ALIGN_BYTES) {
      if (view.getUint32(at + JOURNAL_RECORD_AT.magic, true) !== RECORD_MAGIC) continue;
      const header = this.#headerAt(bytes, at);
      if (header === undefined) continue;
      const body = bytes.subarray(at + JOURNAL_RECORD_HEADER_BYTES, at + JOURNAL_RECORD_HEADER_BYTES + header.bodyBytes);
      if (body.byteLength === header.bodyBytes && this.options.crc32c(body) === header.bodyCrc) this.options.foundBehind?.({ header, body });
      yield header;
    }
  }

  /** A header is durable before anything follows it: one that does not read, or does not continue what was read, is never a torn tail. */
  #noteBrokenHeader(header: SegmentHeader | undefined): void {
    const expected = (this.recordNo ?? 0) + 1;
    this.#laterRecordNo = expected + 1;
    if (header === undefined) this.#laterCommittedNo = expected;
    this.#noteLater(header);
  }

  #noteLater(header: SegmentHeader | undefined): void {
    if (header === undefined) return;
    this.#laterRecordNo = Math.max(this.#laterRecordNo, header.firstRecordNo);
    this.#laterCommittedNo = Math.max(this.#laterCommittedNo, header.committedRecordNo);
  }
}

/** The frame header that a journalled frame came with, apart from its connection's stream number. */
export function frameHeaderOf(header: JournalRecordHeader): FrameHeader {
  const { incarnation, epoch, count, firstSeq, lastSeq, bodyBytes, rawBytes, bodyCrc, codec } = header;
  return { kind: FrameKind.records, stream: 1, incarnation, epoch, count, firstSeq, lastSeq, bodyBytes, rawBytes, bodyCrc, codec };
}
