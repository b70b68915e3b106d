import { type Crc32c, MiB } from '@tidemark/base';
import type { FrameCodec } from '@tidemark/frame';
import {
  type CompactionNote, decodeSegmentHeader, type Journal, type JournalEffect, JournalError, type JournalIdentity, JournalRecovery, type KeptImages, planCompaction, type PlannedSegment,
  SEGMENT_HEADER_BYTES, SegmentCompaction, type SegmentSummary, type SegmentWrites, VersionSweep,
} from '@tidemark/journal';
import { storageFailure } from './defaults.js';
import type { FileLayer, JournalHandle } from './file-layer.js';
import type { FrameReader } from './frame-reader.js';
import type { JournalIndex } from './journal-index.js';
import type { RunFile } from './run-file.js';
import { SCAN_STEP_BYTES } from './scratch-journal.js';
import type { SegmentFiles } from './segment-files.js';
import type { Decompress } from './types.js';

/** What is left of a segment must be at most this share of it, or it stays as it is. */
const LEFT_SHARE_MAX = 0.75;
/** Of several segments that are put in place together, waiting under temporary names: the datastore holds them twice for so long. */
const WAITING_BYTES_MAX = 64 * MiB;
const SYNC_BYTES = 8 * MiB;
/** For so long a step of an apply is waited for. */
const HOLD_TRIES_MAX = 100;
const HOLD_PAUSE_MS = 20;
/** Segments of room that must be left beside: nobody is brought to the edge by a compaction. */
const ROOM_SEGMENTS = 2;

export interface CompactionOptions {
  /** Only segments that end below this stream position. */
  readonly beforeSeq: number;
  /** Before so many bytes are read: resolves when they may be, and soon when it is not to go on at all. */
  readonly allow: (bytes: number, shouldStop: () => boolean) => Promise<void>;
  readonly shouldStop: () => boolean;
  readonly pause: (ms: number) => Promise<void>;
}

export interface CompactionResult {
  readonly freedBytes: number;
  readonly readBytes: number;
  readonly rewrittenSegments: number;
}

export interface CompactorParts {
  readonly journal: Journal;
  readonly segments: SegmentFiles;
  readonly index: JournalIndex;
  readonly reader: FrameReader;
  readonly files: FileLayer;
  readonly crc32c: Crc32c;
  readonly decompress: Decompress;
  readonly compress: (codec: FrameCodec, raw: Uint8Array) => Uint8Array;
  readonly identity: JournalIdentity;
  readonly roomBytes: () => number;
  /** The engine's effects of putting files in place. */
  readonly act: (act: (effects: JournalEffect[]) => void) => void;
  /** Files were being put in place, and nobody knows which are: the journal must be opened anew. */
  readonly failed: (detail: string) => void;
}

/** Written under its temporary name, durable, read back. */
interface Prepared {
  readonly before: SegmentSummary;
  readonly span: SegmentSummary;
  readonly writes: SegmentWrites;
}

/**
 * Rewrites sealed segments without the versions that no kept checkpoint shows: docs/spec/journal.md, Compaction. In steps that give way; nothing of the journal
 * waits for it but the moment in which files change places.
 */
export class Compactor {
  readonly #notes = new Map<number, CompactionNote>();
  #installing: Promise<void> | undefined;
  #running: Promise<CompactionResult> | undefined;
  #isStopped = false;
  /** Since the journal was opened. */
  freedBytes = 0;

  constructor(private readonly parts: CompactorParts) {}

  /** Files change places: until then nobody begins to read. */
  async installed(): Promise<void> {
    while (this.#installing !== undefined) await this.#installing;
  }

  /** One at a time. Throws what reading and writing give; the journal is as it was then. */
  async run(options: CompactionOptions): Promise<CompactionResult> {
    if (this.#running !== undefined) return await this.#running;
    const shouldStop = (): boolean => this.#isStopped || options.shouldStop();
    this.#running = new Pass(this.parts, { ...options, shouldStop }, this.#notes, async (run, batch) => await this.#install(run, batch, options.pause)).run();
    try {
      const result = await this.#running;
      this.freedBytes += result.freedBytes;
      return result;
    } finally {
      this.#running = undefined;
    }
  }

  async close(): Promise<void> {
    this.#isStopped = true;
    await Promise.allSettled([this.#running]);
  }

  /** False: somebody reads, or the segments are not there any more. */
  async #install(run: RunFile, batch: readonly Prepared[], pause: CompactionOptions['pause']): Promise<boolean> {
    const { journal, index } = this.parts;
    let end: (() => void) | undefined;
    try {
      return await index.replaceSegments(run, batch, async () => {
        const isThere = (): boolean => batch.every(({ before }) => journal.segments.includes(before));
        // An apply ends soon, a view does not.
        for (let tries = 0; !isThere() || !journal.swap.hold(); tries += 1) {
          if (!isThere() || journal.swap.isRead || this.#isStopped || tries === HOLD_TRIES_MAX) return false;
          await pause(HOLD_PAUSE_MS);
        }
        // Until the index has its name too: what it said of these segments is wrong from now on.
        this.#installing = new Promise<void>((resolve) => (end = resolve));
        await this.#swap(batch);
        return true;
      });
    } catch (error) {
      if (end !== undefined) this.parts.failed(`files of a compaction could not be put in place: ${String(error)}`);
      throw error;
    } finally {
      this.#installing = undefined;
      end?.();
    }
  }

  async #swap(batch: readonly Prepared[]): Promise<void> {
    const { journal, segments, reader, act } = this.parts;
    await segments.replace(batch.map(({ span }) => span.segment));
    reader.forget();
    act((effects) => journal.swap.release(batch.map(({ span }) => span), effects));
  }
}

/** One walk over a journal's segments, from the newest that is due to the oldest. */
class Pass {
  readonly #images: KeptImages;
  readonly #sweep: VersionSweep;
  readonly #plan: readonly PlannedSegment[];
  #batch: Prepared[] = [];
  #batchRun: RunFile | undefined;
  #freedBytes = 0;
  #readBytes = 0;
  #rewrittenSegments = 0;

  constructor(
    private readonly parts: CompactorParts,
    private readonly options: CompactionOptions,
    private readonly notes: Map<number, CompactionNote>,
    private readonly install: (run: RunFile, batch: readonly Prepared[]) => Promise<boolean>,
  ) {
    const { journal, index } = parts;
    const { images } = journal.swap;
    this.#images = images;
    this.#sweep = new VersionSweep(images);
    for (const segment of notes.keys()) if (!journal.segments.some((each) => each.segment === segment)) notes.delete(segment);
    this.#plan = planCompaction({
      segments: journal.segments, appliedSeq: journal.durable.appliedSeq, beforeSeq: options.beforeSeq, markerSeqs: images.markerSeqs, notes,
      isIndexed: (segment) => index.runOf(segment) !== undefined,
    });
  }

  async run(): Promise<CompactionResult> {
    try {
      for (const planned of this.#plan) {
        if (this.options.shouldStop() || !(await this.#visit(planned))) break;
      }
      await this.#flush();
    } finally {
      await this.#dropBatch();
    }
    return { freedBytes: this.#freedBytes, readBytes: this.#readBytes, rewrittenSegments: this.#rewrittenSegments };
  }

  /** False: no use to go on now. */
  async #visit({ summary, isApart, isCandidate, note }: PlannedSegment): Promise<boolean> {
    const { journal, segments, files, index } = this.parts;
    const run = index.runOf(summary.segment);
    if (run !== this.#batchRun) await this.#flush();
    if (isApart) this.#sweep.forget();
    if (journal.swap.isRead) return false; // a view: nothing can be put in place, for as long as it is open
    await this.options.allow(summary.bytes, this.options.shouldStop);
    // Freed meanwhile, and so are all that are older.
    if (this.options.shouldStop() || !journal.segments.includes(summary)) return false;
    const bytes = await segments.read(summary.segment, summary.bytes);
    this.#readBytes += summary.bytes;
    const header = decodeSegmentHeader(bytes, this.parts.crc32c);
    const original = await this.#readThrough(summary.segment, bytes);
    // The scrub will meet it too, and say so.
    if (header === undefined || !isSame(original.state.segments[0], summary)) throw damaged(summary.segment, 'does not read back as it was written');
    const compaction = new SegmentCompaction({ summary, header, bytes, droppedIds: journal.swap.droppedBy(summary, this.#images) }, this.parts);
    while (!compaction.sweep(this.#sweep)) await files.giveWay();
    if (!isCandidate || run === undefined) return true;
    this.notes.set(summary.segment, note);
    if (compaction.estimatedBytes > LEFT_SHARE_MAX * summary.bytes) return true;
    if (this.parts.roomBytes() < this.#waitingBytes + compaction.estimatedBytes + ROOM_SEGMENTS * summary.bytes) {
      this.notes.delete(summary.segment);
      return false;
    }
    const prepared = await this.#prepare(compaction, summary, original);
    if (prepared === undefined) return true;
    this.#batch.push(prepared);
    this.#batchRun = run;
    if (this.#waitingBytes >= WAITING_BYTES_MAX) await this.#flush();
    return true;
  }

  get #waitingBytes(): number {
    return this.#batch.reduce((sum, { span }) => sum + span.bytes, 0);
  }

  /** Written, durable and read back; undefined: not worth it after all. */
  async #prepare(compaction: SegmentCompaction, before: SegmentSummary, original: JournalRecovery): Promise<Prepared | undefined> {
    const { files, segments } = this.parts;
    const path = segments.temporaryPath(before.segment);
    const { checkpointIds } = this.#images;
    const handle = await files.open(path, 'create');
    let span: SegmentSummary | undefined;
    let isKept = false;
    let recovery: JournalRecovery;
    try {
      const endAt = await this.#write(handle, compaction);
      if (compaction.isTooLong) return undefined;
      handle.dropCache();
      const bytes = new Uint8Array(endAt);
      await handle.readFully(bytes, 0);
      recovery = await this.#readThrough(before.segment, bytes);
      span = recovery.state.segments[0];
      if (span?.endAt !== endAt || !isSameOutcome(recovery, original, checkpointIds)) throw damaged(before.segment, 'would not say the same when compacted: it stays as it is');
      isKept = endAt <= LEFT_SHARE_MAX * before.bytes;
    } catch (error) {
      if (storageFailure(error).reason === 'noSpace') this.notes.delete(before.segment);
      throw error;
    } finally {
      await handle.close();
      if (!isKept) await files.remove(path);
    }
    const [writes] = recovery.state.writes;
    return isKept && writes !== undefined ? { before, span, writes } : undefined;
  }

  async #write(handle: JournalHandle, compaction: SegmentCompaction): Promise<number> {
    let at = SEGMENT_HEADER_BYTES;
    let syncedAt = 0;
    for (let chunks = compaction.write(); chunks !== undefined; chunks = compaction.write()) {
      await handle.writeAll(chunks, at);
      for (const { byteLength } of chunks) at += byteLength;
      // As it grows: one large sync would keep journals of the same disk waiting.
      if (at - syncedAt >= SYNC_BYTES) {
        await handle.dataSync();
        syncedAt = at;
      }
      await this.parts.files.giveWay();
    }
    const { header } = compaction.finish();
    await handle.writeAll([header], 0);
    await handle.dataSync();
    return at;
  }

  async #readThrough(segment: number, bytes: Uint8Array): Promise<JournalRecovery> {
    const { crc32c, decompress, identity, files } = this.parts;
    const found = { segment, fileBytes: bytes.byteLength, header: decodeSegmentHeader(bytes, crc32c) };
    const recovery = new JournalRecovery({ identity, epoch: 1, crc32c, decompress }, [found]);
    recovery.begin(found, bytes);
    while (!recovery.step(SCAN_STEP_BYTES)) await files.giveWay();
    return recovery;
  }

  async #flush(): Promise<void> {
    const run = this.#batchRun;
    this.#batchRun = undefined;
    if (run === undefined || this.#batch.length === 0) return;
    if (await this.install(run, this.#batch)) {
      for (const { before, span } of this.#batch.splice(0)) {
        this.#freedBytes += before.bytes - span.bytes;
        this.#rewrittenSegments += 1;
      }
      return;
    }
    // A view is open, or the segments are gone: the work is lost, and done again when there is reason to.
    for (const { before } of this.#batch) this.notes.delete(before.segment);
    await this.#dropBatch();
  }

  async #dropBatch(): Promise<void> {
    // Some may be in place already, when that failed half way; what stays the next start removes.
    for (const { span } of this.#batch.splice(0)) await Promise.allSettled([this.parts.files.remove(this.parts.segments.temporaryPath(span.segment))]);
  }
}

const isSame = (read: SegmentSummary | undefined, known: SegmentSummary): boolean =>
  read?.endAt === known.endAt && read.recordNo === known.recordNo && read.chain === known.chain && read.lastSeq === known.lastSeq;

/** What the records add up to, seen from the state that the segment begins with, must not have changed, nor what is known of a kept checkpoint. */
function isSameOutcome(compacted: JournalRecovery, original: JournalRecovery, keptIds: ReadonlySet<number>): boolean {
  const outcomeOf = ({ state }: JournalRecovery): string => JSON.stringify([state.snapshot, state.ledger.held.filter(({ checkpointId }) => keptIds.has(checkpointId))]);
  return outcomeOf(compacted) === outcomeOf(original);
}

const damaged = (segment: number, what: string): JournalError => new JournalError('JOURNAL_CORRUPT', `segment ${segment} ${what}`);
