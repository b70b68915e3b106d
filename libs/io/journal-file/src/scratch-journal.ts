import { randomBytes } from 'node:crypto';
import { assert, type Crc32c, type MonotonicMs, ProtocolError, type WallClockMs } from '@tidemark/base';
import { ExtentMap } from '@tidemark/extent';
import { encodeRecordTable, FrameCodec, RECORD_BYTES, RECORD_LENGTH_MAX, RecordType } from '@tidemark/frame';
import {
  decodePlaced, encodeJournalRecord, encodeSegmentHeader, type FoundRecord, type FramePlace, JOURNAL_RECORD_HEADER_BYTES, JournalError, type JournalIdentity,
  JournalRecordKind, JournalScanner, paddingAfter, planScan, recordBytes, SEGMENT_HEADER_BYTES,
} from '@tidemark/journal';
import { VolumeError } from '@tidemark/volume';
import { storageFailure } from './defaults.js';
import type { FileLayer } from './file-layer.js';
import { SegmentFiles } from './segment-files.js';

export interface ScratchOptions {
  readonly folder: string;
  readonly identity: JournalIdentity;
  readonly volumeCount: number;
  readonly files: FileLayer;
  readonly crc32c: Crc32c;
  readonly clocks: { readonly monotonicMs: MonotonicMs; readonly wallClockMs: WallClockMs };
  readonly segmentBytes: number;
  /** How many more bytes may be written when so many are; asked before every write. Absent: as many as fit. */
  readonly roomBytes?: ((scratchBytes: number) => number) | undefined;
}

/** One write of the guest. */
export interface ScratchWrite {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  /** undefined: zeroes. */
  readonly payload: Uint8Array | undefined;
}

/** Called for what the writes found add up to, then for every later write in order; `place` is that of the payload's first byte, undefined for zeroes. */
export type OnScratchWrite = (write: ScratchWrite, place: FramePlace | undefined) => void;

interface Waiting {
  readonly write: ScratchWrite;
  readonly resolve: () => void;
  readonly reject: (error: VolumeError) => void;
}

/** Scanned without giving way: some 2 ms at most. */
export const SCAN_STEP_BYTES = 512 * 1024;
/** Bytes of one batch beyond its last write. */
const BATCH_BYTES_MAX = 8 * 1024 * 1024;

/**
 * What a guest wrote on a checkpoint view: a journal in the same record format. A write is done when it is in the file, so it survives the
 * process; `sync` (the guest's FLUSH) is its group commit. After a failed write or sync nothing is taken any more; a full disk is no failure.
 */
export class ScratchJournal {
  readonly #options: ScratchOptions;
  readonly #segments: SegmentFiles;
  readonly #waiting: Waiting[] = [];
  #onWrite: OnScratchWrite | undefined;
  /** By volume: what the writes found add up to, so that many rewrites of one block take no memory. Segment 0: zeroes. */
  #found: ExtentMap<FramePlace>[];
  #salt: Uint8Array = randomBytes(8);
  #recordNo = 0;
  #syncedNo = 0;
  #chain = 0;
  #segment = 0;
  #at = 0;
  #fullSegmentsBytes = 0;
  #waitingBytes = 0;
  #isFull = false;
  #failure: VolumeError | undefined;
  /** Appends and syncs one after the other; its owner is this object: `close` awaits it. */
  #lane: Promise<void> = Promise.resolve();
  #isAppending = false;
  #sync: Promise<void> | undefined;

  private constructor(options: ScratchOptions) {
    this.#options = options;
    this.#segments = new SegmentFiles(options.folder, options.files);
    const split = (place: FramePlace, skip: number): FramePlace => (place.segment === 0 ? place : { segment: place.segment, at: place.at + skip });
    this.#found = Array.from({ length: options.volumeCount }, () => new ExtentMap(split));
  }

  /**
   * Finds the writes of an earlier process, as the disk has them: what the page cache alone has since a sync failed was never flushed. A torn tail is cut, anything
   * else that does not read back throws JOURNAL_CORRUPT.
   */
  static async open(options: ScratchOptions): Promise<ScratchJournal> {
    const scratch = new ScratchJournal(options);
    try {
      await scratch.#recover();
    } catch (error) {
      await scratch.#segments.closeAll();
      throw error;
    }
    return scratch;
  }

  /** The newest write found no room: its guest was told ENOSPC. */
  get isFull(): boolean {
    return this.#isFull;
  }

  get bytes(): number {
    return this.#fullSegmentsBytes + this.#at;
  }

  /** Hands over the writes found, and every later one. */
  attach(onWrite: OnScratchWrite): void {
    this.#onWrite = onWrite;
    this.#found.forEach((found, volume) => {
      for (const { start, end, value } of found.entries()) {
        onWrite({ volume, offset: start, length: end - start, payload: undefined }, value.segment === 0 ? undefined : value);
      }
    });
    this.#found = [];
  }

  /** Done when the write is in the file. Rejects with VOLUME_FULL (it left no trace) or VOLUME_IO. */
  async write(write: ScratchWrite): Promise<void> {
    assert(write.length <= RECORD_LENGTH_MAX, 'a write within the record limit');
    if (this.#failure !== undefined) throw this.#failure;
    const bytes = recordBytes(RECORD_BYTES + (write.payload?.byteLength ?? 0));
    this.#checkRoom(bytes);
    this.#waitingBytes += bytes;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push({ write, resolve, reject });
        this.#startAppending();
      });
    } finally {
      this.#waitingBytes -= bytes;
    }
  }

  #checkRoom(bytes: number): void {
    const roomBytes = this.#options.roomBytes?.(this.bytes + this.#waitingBytes) ?? Infinity;
    this.#isFull = bytes > roomBytes;
    if (this.#isFull) throw new VolumeError('VOLUME_FULL', `scratch journal of ${this.bytes} bytes may take ${Math.floor(roomBytes)} more`);
  }

  /** Durable: every write that was done before the call. One fdatasync in flight; calls that come meanwhile share the next. */
  async sync(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#sync ??= this.#inLane(async () => {
      this.#sync = undefined; // later calls may come after writes that this sync does not cover
      await this.#syncNow();
    });
    await this.#sync;
  }

  async read(place: FramePlace, target: Uint8Array): Promise<void> {
    try {
      await this.#segments.use(place.segment, async (handle) => await handle.readFully(target, place.at));
    } catch (cause) {
      throw new VolumeError('VOLUME_IO', 'scratch journal cannot be read', { cause });
    }
  }

  async close(): Promise<void> {
    this.#failure ??= new VolumeError('VOLUME_CLOSED', 'the view is closed');
    // A batch that was waiting begins another turn when its forerunner ends.
    for (let lane: Promise<void> | undefined; lane !== this.#lane;) {
      lane = this.#lane;
      await lane;
    }
    await this.#segments.closeAll();
  }

  /** Closes and deletes it with its folder. */
  async remove(): Promise<void> {
    await this.close();
    await this.#segments.removeAll();
  }

  async #inLane(work: () => Promise<void>): Promise<void> {
    const turn = this.#lane.then(work);
    this.#lane = turn.catch(() => undefined); // the caller has the error
    await turn;
  }

  #startAppending(): void {
    if (this.#isAppending) return;
    this.#isAppending = true;
    // Never rejects: each write of the batch gets its own answer. Owned by the lane.
    void this.#inLane(async () => {
      this.#isAppending = false;
      await this.#appendBatch();
    });
  }

  async #appendBatch(): Promise<void> {
    const batch: Waiting[] = [];
    let bytes = 0;
    while (this.#waiting.length > 0 && bytes < BATCH_BYTES_MAX) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      batch.push(next);
      bytes += next.write.payload?.byteLength ?? RECORD_BYTES;
    }
    if (this.#waiting.length > 0) this.#startAppending();
    let before = this.#end();
    try {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#at >= this.#options.segmentBytes) await this.#roll();
      before = this.#end();
      const places = await this.#appendAll(batch.map(({ write }) => write));
      batch.forEach(({ write, resolve }, i) => {
        this.#onWrite?.(write, places[i]);
        resolve();
      });
    } catch (error) {
      const failure = await this.#giveUp(error, before);
      for (const { reject } of batch) reject(failure);
    }
  }

  async #appendAll(writes: readonly ScratchWrite[]): Promise<(FramePlace | undefined)[]> {
    const chunks: Uint8Array[] = [];
    const at = this.#at;
    const places = writes.map((write) => this.#encode(write, chunks));
    await this.#segments.use(this.#segment, async (handle) => await handle.writeAll(chunks, at));
    return places;
  }

  #end(): { readonly recordNo: number; readonly chain: number; readonly at: number } {
    return { recordNo: this.#recordNo, chain: this.#chain, at: this.#at };
  }

  #encode({ volume, offset, length, payload }: ScratchWrite, chunks: Uint8Array[]): FramePlace | undefined {
    const { crc32c, clocks } = this.#options;
    const table = new Uint8Array(RECORD_BYTES);
    encodeRecordTable([{ type: payload === undefined ? RecordType.zeroes : RecordType.write, volume, offset, length, payload }], table);
    const bodyBytes = RECORD_BYTES + (payload?.byteLength ?? 0);
    const bodyCrc = payload === undefined ? crc32c(table) : crc32c(payload, crc32c(table));
    const recordNo = this.#recordNo + 1;
    const { bytes, chain } = encodeJournalRecord(
      {
        kind: JournalRecordKind.scratch, recordNo, committedRecordNo: this.#syncedNo, firstSeq: recordNo, lastSeq: recordNo, committedSeq: this.#syncedNo,
        epoch: 0, incarnation: 0, count: 1, bodyBytes, rawBytes: bodyBytes, bodyCrc, codec: FrameCodec.none, clockMs: Math.max(0, clocks.monotonicMs()),
        atMs: clocks.wallClockMs(),
      },
      { salt: this.#salt, previousChain: this.#chain, crc32c },
    );
    chunks.push(bytes, table);
    if (payload !== undefined) chunks.push(payload);
    const padding = paddingAfter(bodyBytes);
    if (padding.byteLength > 0) chunks.push(padding);
    const place = { segment: this.#segment, at: this.#at + JOURNAL_RECORD_HEADER_BYTES + RECORD_BYTES };
    this.#recordNo = recordNo;
    this.#chain = chain;
    this.#at += recordBytes(bodyBytes);
    return payload === undefined ? undefined : place;
  }

  /** No space: cut back to before the batch, which leaves no trace. Anything else: broken for good. */
  async #giveUp(error: unknown, before: { readonly recordNo: number; readonly chain: number; readonly at: number }): Promise<VolumeError> {
    if (error instanceof VolumeError) return error;
    const { reason, detail } = storageFailure(error);
    if (reason === 'noSpace') {
      try {
        // Synced: what the guest was told to have failed must not come back with a power loss.
        await this.#segments.truncate(this.#segment, before.at);
        this.#recordNo = before.recordNo;
        this.#chain = before.chain;
        this.#at = before.at;
        this.#isFull = true;
        return new VolumeError('VOLUME_FULL', `scratch journal: ${detail}`, { cause: error });
      } catch (cause) {
        return this.#break('scratch journal cannot be cut back', cause);
      }
    }
    return this.#break('scratch journal cannot be written', error);
  }

  #break(what: string, cause: unknown): VolumeError {
    this.#failure ??= new VolumeError('VOLUME_IO', `${what}: ${storageFailure(cause).detail}`, { cause });
    return this.#failure;
  }

  async #syncNow(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const recordNo = this.#recordNo;
    if (this.#syncedNo === recordNo) return;
    try {
      await this.#segments.use(this.#segment, async (handle) => await handle.dataSync());
    } catch (cause) {
      throw this.#break('scratch journal cannot be synced', cause);
    }
    this.#syncedNo = recordNo;
  }

  async #roll(): Promise<void> {
    await this.#syncNow();
    await this.#begin(this.#segment + 1);
  }

  async #begin(segment: number): Promise<void> {
    const header = encodeSegmentHeader(
      {
        identity: this.#options.identity, salt: this.#salt, generation: 1, segment, resumesSegment: this.#segment, resumesAt: this.#at,
        firstRecordNo: this.#recordNo + 1, committedRecordNo: this.#recordNo, chainStart: this.#chain,
      },
      this.#options.crc32c,
    );
    await this.#segments.create(segment, header);
    this.#fullSegmentsBytes += this.#at;
    this.#segment = segment;
    this.#at = SEGMENT_HEADER_BYTES;
  }

  async #recover(): Promise<void> {
    const { crc32c } = this.#options;
    const plan = planScan(await this.#segments.find(crc32c));
    const scanner = new JournalScanner({ crc32c, take: (record, segment) => this.#take(record, segment), beginSegment: () => undefined });
    for (const { found, limitBytes } of plan.segments) {
      this.#salt = found.header?.salt ?? this.#salt;
      scanner.begin(found, await this.#segments.readFromDisk(found.segment, limitBytes));
      while (!scanner.step(SCAN_STEP_BYTES)) await this.#options.files.giveWay();
      this.#fullSegmentsBytes += this.#at;
      this.#segment = found.segment;
      this.#at = limitBytes;
    }
    const end = scanner.finish();
    if (end?.verdict === 'corrupt') throw new JournalError('JOURNAL_CORRUPT', `scratch journal: ${end.why}`);
    if (plan.leftover !== undefined) await this.#segments.remove(plan.leftover);
    this.#recordNo = scanner.recordNo ?? 0;
    this.#chain = scanner.chain;
    if (this.#segment === 0) return await this.#begin(1);
    if (end !== undefined) this.#at = end.at;
    await this.#segments.truncate(this.#segment, this.#at); // syncs too: what a killed process wrote is durable from here on
    this.#syncedNo = this.#recordNo;
  }

  #take({ header, body, at }: FoundRecord, segment: number): boolean {
    if (header.kind !== JournalRecordKind.scratch) return false;
    try {
      const [record] = decodePlaced(header, body).records;
      if (record === undefined || header.count !== 1 || record.volume >= this.#options.volumeCount) return false;
      const { volume, offset, length, payload } = record;
      const place = payload === undefined ? { segment: 0, at: 0 } : { segment, at: at + JOURNAL_RECORD_HEADER_BYTES + RECORD_BYTES };
      this.#found[volume]?.insert(offset, offset + length, place);
      return true;
    } catch (error) {
      if (error instanceof ProtocolError) return false;
      throw error;
    }
  }
}
