import { ProtocolError, type Crc32c } from '@tidemark/base';
import { isEqual, isFrameKind } from './codec.js';
import { DurableState } from './durable-state.js';
import { isIndexOf, type SegmentSection } from './index-file.js';
import { JournalError } from './journal-error.js';
import { NO_SALVAGE, withRecord } from './salvage.js';
import { decodePlaced, NO_RECORDS } from './kept-frame.js';
import { JournalScanner, planScan, type DecompressBody, type FoundRecord, type ScanPlan, type SegmentFound } from './scanner.js';
import { decodeDigest } from './segment-digest.js';
import type { JournalIdentity } from './types.js';

export interface RecoveryOptions {
  readonly identity: JournalIdentity;
  /** Epoch of a journal that does not exist yet. */
  readonly epoch: number;
  readonly crc32c: Crc32c;
  readonly decompress: DecompressBody;
  /** Highest stream position known to have been acknowledged, if the caller knows one. */
  readonly ackedSeq?: number;
}

/** What a journal's files say, ready for `new Journal`. */
export interface RecoveredJournal {
  readonly state: DurableState;
  /** undefined: there is no journal yet; with a corruption: nothing that reads tells which records are its own. */
  readonly salt: Uint8Array | undefined;
  /** To cut the last segment to, when its tail is torn. */
  readonly cut: { readonly segment: number; readonly bytes: number } | undefined;
  readonly leftover: number | undefined;
  readonly highestSegment: number;
  /** Set when acknowledged bytes are gone: nothing is cut, checkpoints before the break stay. */
  readonly corruption: string | undefined;
  /** Set when a torn tail was found, for the log. */
  readonly tornTail: string | undefined;
}

/** The scan of an existing journal: feed the segments of `plan` in order, then `finish`. */
export class JournalRecovery {
  readonly plan: ScanPlan;
  readonly #state: DurableState;
  readonly #scanner: JournalScanner;
  #salvage = NO_SALVAGE;

  /** Throws JOURNAL_IDENTITY when the files belong to another protection. */
  constructor(
    private readonly options: RecoveryOptions,
    private readonly files: readonly SegmentFound[],
  ) {
    for (const { header } of files) if (header !== undefined) checkIdentity(header.identity, options.identity);
    this.plan = planScan(files);
    this.#state = new DurableState(options.identity, options.epoch, options.crc32c);
    this.#scanner = new JournalScanner({
      crc32c: options.crc32c,
      // The newest header that reads, not the first one: what later segments say of epochs must not hang on one header.
      salt: this.plan.segments.findLast(({ found }) => found.header !== undefined)?.found.header?.salt,
      ...(options.ackedSeq === undefined ? {} : { ackedSeq: options.ackedSeq }),
      take: (record, segment) => this.#take(record, segment),
      beginSegment: (header) => this.#state.beginSegment(header),
      foundBehind: (record) => {
        this.#salvage = withRecord(this.#salvage, record);
      },
    });
  }

  /** `bytes`: the file from its start to its limit (or its end). Throws JOURNAL_VERSION at a whole record of another version, before or behind a break. */
  feed(found: SegmentFound, bytes: Uint8Array): void {
    this.#scanner.segment(found, bytes);
  }

  /** As {@link feed}, in steps of some `bytesMax` bytes: `step` until it says true. */
  begin(found: SegmentFound, bytes: Uint8Array): void {
    this.#scanner.begin(found, bytes);
  }

  step(bytesMax: number): boolean {
    return this.#scanner.step(bytesMax);
  }

  /**
   * Takes a sealed segment from its index instead of its records, if the index belongs to it: `salt` and `section` are of its index file, `next` is the
   * header of the segment behind it. False: nothing was taken, {@link feed} it.
   */
  takeIndexed(found: SegmentFound, next: SegmentFound, { salt, section }: { readonly salt: Uint8Array; readonly section: SegmentSection }): boolean {
    const { header } = found;
    if (header === undefined || next.header === undefined || !isEqual(header.salt, salt)) return false;
    if (!isIndexOf(section, { fileBytes: found.fileBytes, header }, next.header)) return false;
    const digest = decodeDigest(section.digest);
    if (digest === undefined || !this.#scanner.skip(header, section)) return false;
    this.#state.takeIndexed(section, section.writes, digest);
    return true;
  }

  /** After the plan, before `finish`: to be read whole and given to {@link feedLeftOut}. Empty unless acknowledged bytes are gone. */
  get leftOut(): ScanPlan['leftOut'] {
    return this.#scanner.finish()?.verdict === 'corrupt' ? this.plan.leftOut : [];
  }

  feedLeftOut({ fromBytes }: ScanPlan['leftOut'][number], bytes: Uint8Array): void {
    this.#scanner.leftOut(bytes, fromBytes);
  }

  /** What is known so far: the scan's caller writes the index of a segment that it had to read. */
  get state(): DurableState {
    return this.#state;
  }

  /** Of the journal; undefined before its first segment. */
  get salt(): Uint8Array | undefined {
    return this.#scanner.salt;
  }

  finish(): RecoveredJournal {
    const end = this.#scanner.finish();
    this.#state.ledger.forgetUnmet();
    const { leftover, highestSegment } = this.plan;
    const base = { state: this.#state, salt: this.#scanner.salt, leftover, highestSegment };
    if (end?.verdict === 'corrupt') this.#state.salvage(this.#salvage);
    // By what the mirrors have passed, and behind a break as well: files that a generation had cut off are read again when its header does not.
    const missing = this.#missingFront();
    const corruption = end?.verdict === 'corrupt' ? end.why : missing;
    if (this.#scanner.isUnproven) this.#state.dropNewest();
    const cut = corruption === undefined && end !== undefined ? { segment: end.segment, bytes: end.at } : undefined;
    this.#state.cutOff.found(this.files, this.#state.segments, (segment) => segment === leftover || segment === cut?.segment);
    if (corruption !== undefined) return { ...base, cut: undefined, corruption, tornTail: undefined };
    return { ...base, cut, corruption: undefined, tornTail: end?.why };
  }

  /** Segments are freed only when all they hold is applied; otherwise somebody else removed them, and no image can be put together. */
  #missingFront(): string | undefined {
    const { seqBeforeFirstSegment, snapshot } = this.#state;
    if (seqBeforeFirstSegment <= snapshot.appliedSeq) return undefined;
    this.#state.frontLost();
    return `segments with stream positions ${snapshot.appliedSeq + 1} to ${seqBeforeFirstSegment} are missing`;
  }

  #take({ header, body, at, endAt }: FoundRecord, segment: number): boolean {
    try {
      const placed = isFrameKind(header.kind) ? decodePlaced(header, this.options.decompress(header.codec, body, header.rawBytes)) : NO_RECORDS;
      this.#state.add({ header, place: { segment, at }, endAt, body, ...placed });
      return true;
    } catch (error) {
      if (error instanceof ProtocolError) return false;
      throw error;
    }
  }
}

function checkIdentity(found: JournalIdentity, expected: JournalIdentity): void {
  if (found.vpgId === expected.vpgId && found.vmId === expected.vmId) return;
  throw new JournalError('JOURNAL_IDENTITY', `the folder holds the journal of VM ${found.vmId} in VPG ${found.vpgId}`);
}
