import { BLOCK_BYTES, MiB } from '@tidemark/base';
import { RecordType, type StreamRecord } from '@tidemark/frame';
import type { GuestWrite } from '@tidemark/splitter';
import { ActivityKeeper, type ActivityEffect } from '../activity-keeper.js';
import { ActivityLog } from '../activity-log.js';
import type { BudgetShare } from '../memory-budget.js';
import { Sender } from '../sender.js';
import { crc32cTable } from '@tidemark/base/testing';

/** Two blocks in each of three extents: enough for marks to come and go. */
const EXTENTS = 3;
const SIZE = EXTENTS * MiB;
const LOG_ID = new Uint8Array(8).fill(7);
export const BLOCKS = EXTENTS * 2;
const offsetOf = (block: number): number => Math.floor(block / 2) * MiB + (block % 2) * 64 * BLOCK_BYTES;

/** Work of the host that has begun and not ended: a crash may find it done, or not. */
interface Work {
  readonly what: string;
  /** What is on a disk afterwards. */
  toDisk(): void;
  /** What the process learns. */
  tell(): void;
}

/** The recovery side: whatever arrives is applied and durable at once. */
class Recovery {
  readonly image = new Map<number, number>();
  lastSessionId: string | null = null;
  isBaseComplete = false;
  durableSeq = 0;
  incarnation = 0;

  take(lastSeq: number, records: readonly StreamRecord[]): void {
    for (const record of records) {
      if (record.type === RecordType.syncEnd) this.isBaseComplete = true;
      if (record.payload === undefined && record.type !== RecordType.syncZeroes) continue;
      for (let block = 0; block < BLOCKS; block += 1) {
        const at = offsetOf(block) - record.offset;
        if (at < 0 || at >= record.length || record.type > RecordType.syncZeroes) continue;
        this.image.set(block, record.payload?.[at] ?? 0);
      }
    }
    this.durableSeq = lastSeq;
  }
}

class Budget implements BudgetShare {
  isFull = false;
  readonly usedBytes = 0;
  readonly guaranteedBytes = 0;

  tryReserve(): boolean {
    return !this.isFull;
  }

  reserve(): void {
    // counts nothing
  }

  release(): void {
    // counts nothing
  }

  close(): void {
    // owns nothing
  }
}

/**
 * One protected volume with a cache that forgets, its activity log on a disk, the capture process and the recovery side, with the real engines.
 * Every step is one move of one of them, so a crash can fall between any two.
 */
export class ActivityWorld {
  readonly recovery = new Recovery();
  readonly #budget = new Budget();
  /** What the guest reads, and what a power loss leaves of it. */
  readonly cache = new Map<number, number>();
  readonly #platter = new Map<number, number>();
  #logDisk: Uint8Array;
  #trustedOnDisk: string | undefined;
  #log: ActivityLog;
  #keeper: ActivityKeeper;
  #sender: Sender;
  #trusted: string | undefined;
  #session = 0;
  #work: Work[] = [];
  #waiting: GuestWrite[] = [];
  /** On their way to the protected volume: their marks are durable. */
  #underWay: { readonly id: number; readonly write: GuestWrite }[] = [];
  #frames: { readonly lastSeq: number; readonly records: readonly StreamRecord[] }[] = [];
  #isLinked = false;
  #isDistrusting = false;
  #nowMs = 0;
  #nextId = 1;
  /** How often a restart could do with less than everything. */
  partialCount = 0;

  constructor() {
    this.#log = new ActivityLog({ volumeSizesBytes: [SIZE], logId: LOG_ID, crc32c: crc32cTable });
    this.#logDisk = this.#log.encodeAll();
    this.#keeper = this.#makeKeeper(false);
    this.#sender = this.#makeSender();
  }

  #makeKeeper(isTrusted: boolean): ActivityKeeper {
    return new ActivityKeeper(this.#log, { periodMs: 2, isTrusted, volumeCount: 1 });
  }

  #makeSender(): Sender {
    this.#session += 1;
    const earlier = this.#trusted === undefined ? undefined : { sessionId: this.#trusted, ackedSeq: this.#log.clearedSeq, suspects: [...this.#log.marked()] };
    return new Sender({
      vpgId: 'v', vmId: 'm', epoch: 1, sessionId: `s${String(this.#session)}`, volumeSizesBytes: [SIZE], budget: this.#budget,
      fence: this.#fence, ...(earlier && { earlier }),
    });
  }

  readonly #fence = {
    fence: (): number => this.#nextId,
    isPast: (fence: number): boolean => this.#waiting.length === 0 && this.#underWay.every(({ id }) => id > fence),
  };

  /** `isSlow`: the protected volume takes it at {@link endSlowWrites}. */
  write(block: number, value: number, { isSlow = false } = {}): void {
    this.#nextId += 1;
    const write = { volume: 0, offset: offsetOf(block), length: BLOCK_BYTES, payload: new Uint8Array(BLOCK_BYTES).fill(value) };
    // Overlapping writes are kept in order by the splitter.
    const isBlocked = this.#waiting.some(({ offset }) => offset === write.offset) || this.#underWay.some((each) => each.write.offset === write.offset);
    if (isBlocked || !this.#log.touch(0, write.offset, write.length)) this.#waiting.push(write);
    else if (isSlow) this.#underWay.push({ id: this.#nextId, write });
    else this.#writeNow(write);
  }

  endSlowWrites(): void {
    for (const { write } of this.#underWay.splice(0)) this.#writeNow(write);
  }

  #writeNow(write: GuestWrite): void {
    const block = Array.from({ length: BLOCKS }, (_, each) => each).find((each) => offsetOf(each) === write.offset) ?? 0;
    this.cache.set(block, write.payload?.[0] ?? 0);
    this.#sender.capture(write);
  }

  persist(): void {
    if (this.#work.some(({ what }) => what === 'marks')) return;
    const batch = this.#log.takeBatch();
    if (batch === undefined) return;
    this.#begin('marks', () => batch.writes.forEach(({ at, bytes }) => this.#logDisk.set(bytes, at)), () => this.#log.batchDurable(batch));
  }

  #begin(what: string, toDisk: () => void, tell: () => void): void {
    this.#work.push({ what, toDisk, tell });
  }

  /** Ends the work that began first; writes that waited for marks go on. */
  finish(): void {
    const work = this.#work.shift();
    work?.toDisk();
    work?.tell();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const write of waiting) {
      if (this.#waiting.some(({ offset }) => offset === write.offset) || !this.#log.touch(0, write.offset, write.length)) this.#waiting.push(write);
      else this.#writeNow(write);
    }
  }

  #flush(tell: () => void): void {
    const written = new Map(this.cache);
    this.#begin('flush', () => written.forEach((value, block) => this.#platter.set(block, value)), tell);
  }

  guestFlush(): void {
    this.#flush(() => undefined);
  }

  tick(): void {
    this.#nowMs += 1;
    const effects: ActivityEffect[] = [];
    const fence = this.#fence;
    this.#keeper.step(this.#nowMs, { fence, stream: this.#sender }, effects);
    for (const effect of effects) this.#carryOut(effect, fence);
  }

  #carryOut(effect: ActivityEffect, fence: { fence(): number; isPast(fence: number): boolean }): void {
    const keeper = this.#keeper;
    if (effect.kind === 'flush') return this.#flush(() => keeper.flushed(this.#nowMs, true));
    const batch = this.#log.takeBatch();
    const toDisk = (): void => batch?.writes.forEach(({ at, bytes }) => this.#logDisk.set(bytes, at));
    if (effect.kind === 'writeMarks') {
      return this.#begin('marks', toDisk, () => {
        if (batch) this.#log.batchDurable(batch);
        keeper.marksWritten({ fence });
      });
    }
    this.#begin('marks', toDisk, () => {
      if (batch) this.#log.batchDurable(batch);
    });
    this.#saveTrust(() => keeper.trusted(this.#nowMs));
  }

  #saveTrust(tell: () => void): void {
    const session = `s${String(this.#session)}`;
    this.#begin('trust', () => (this.#trustedOnDisk = session), () => {
      this.#trusted = session;
      tell();
    });
  }

  /** Connects, and opens the stream. `isAnswerLost`: the recovery side carries it out, and the answer does not arrive. */
  open({ isAnswerLost }: { readonly isAnswerLost: boolean }): void {
    if (this.#isLinked || !this.#sender.wantsOpen) return;
    const { sessionId } = this.#sender.openRequest();
    const { recovery } = this;
    recovery.incarnation += 1;
    const reply = { incarnation: recovery.incarnation, durableSeq: recovery.durableSeq, lastSessionId: recovery.lastSessionId, isBaseComplete: recovery.isBaseComplete, isPreseeded: false, creditBytes: 16 * MiB };
    recovery.lastSessionId = sessionId;
    if (isAnswerLost) return this.#sender.linkDown();
    this.#isLinked = true;
    this.#sender.opened(reply);
    if (this.#trusted === undefined) return;
    if (this.#sender.isEverythingDirty) return this.#distrust();
    if (this.#trusted === sessionId) return;
    this.partialCount += 1;
    this.#saveTrust(() => undefined);
  }

  #distrust(): void {
    this.#trusted = undefined;
    this.#keeper.distrust();
    this.#isDistrusting = true;
    this.#begin('distrust', () => (this.#trustedOnDisk = undefined), () => (this.#isDistrusting = false));
  }

  /** Memory ends while nobody takes anything: the queue goes into the bitmap. */
  dropQueue(): void {
    const isLinked = this.#isLinked;
    this.#budget.isFull = true;
    this.write(4, 77);
    this.persist();
    for (let count = 0; count < 3; count += 1) this.finish();
    this.#budget.isFull = false;
    if (isLinked && this.#sender.wantsOpen) this.cut();
  }

  cut(): void {
    if (!this.#isLinked) return;
    this.#isLinked = false;
    this.#frames = [];
    this.#sender.linkDown();
  }

  send(): void {
    if (!this.#isLinked || this.#isDistrusting) return;
    // Nothing is found equal: what may differ is sent.
    for (let compare = this.#sender.nextCompare(); compare; compare = this.#sender.nextCompare()) {
      this.#sender.compared(compare.compareId, new Uint8Array(Math.ceil(compare.length / BLOCK_BYTES)));
    }
    for (let read = this.#sender.nextSyncRead(); read; read = this.#sender.nextSyncRead()) {
      const bytes = new Uint8Array(read.length);
      for (let block = 0; block < BLOCKS; block += 1) {
        const at = offsetOf(block) - read.offset;
        if (at >= 0 && at < read.length) bytes.fill(this.cache.get(block) ?? 0, at, at + BLOCK_BYTES);
      }
      this.#sender.syncReadDone(read.readId, bytes);
    }
    this.sendQueued();
  }

  /** What is queued, and nothing of a sync is read for it. */
  sendQueued(): void {
    if (!this.#isLinked || this.#isDistrusting) return;
    const frame = this.#sender.nextFrame(MiB);
    if (frame) this.#frames.push(frame);
  }

  deliver(): void {
    const frame = this.#frames.shift();
    if (!frame) return;
    this.recovery.take(frame.lastSeq, frame.records);
    this.#sender.acked({ durableSeq: frame.lastSeq, creditBytes: 16 * MiB });
  }

  /** The journal begins a new generation: it has no whole image any more. */
  loseBase(): void {
    this.cut();
    this.recovery.image.clear();
    this.recovery.isBaseComplete = false;
  }

  /** The process ends, and before the next one begins another capture process has used the recovery side. */
  usurp(): void {
    this.crash({ isPowerLost: false, isDone: true });
    this.recovery.lastSessionId = 'stranger';
    this.recovery.image.set(0, 255);
  }

  /** The process ends; with `isPowerLost`, the cache of the protected volume too, as far as nobody flushed. `isDone` says of work under way whether it got through. */
  crash({ isPowerLost, isDone }: { readonly isPowerLost: boolean; readonly isDone: boolean }): void {
    if (isDone) for (const work of this.#work) work.toDisk();
    this.#work = [];
    this.#waiting = [];
    this.#underWay = [];
    this.#frames = [];
    this.#isLinked = false;
    this.#isDistrusting = false;
    if (isPowerLost) {
      this.cache.clear();
      for (const [block, value] of this.#platter) this.cache.set(block, value);
    }
    this.#restart();
  }

  #restart(): void {
    const restored = this.#trustedOnDisk === undefined ? undefined : ActivityLog.restore({ volumeSizesBytes: [SIZE], logId: LOG_ID, crc32c: crc32cTable }, this.#logDisk);
    this.#trusted = restored && this.#trustedOnDisk;
    this.#log = restored ?? new ActivityLog({ volumeSizesBytes: [SIZE], logId: LOG_ID, crc32c: crc32cTable });
    if (!restored) this.#logDisk = this.#log.encodeAll();
    this.#keeper = this.#makeKeeper(restored !== undefined);
    this.#sender = this.#makeSender();
  }

  /** Everything ends well: what the recovery side then holds. `isTrusted`: and the log says so. */
  settle({ untilTrusted = false } = {}): Map<number, number> {
    for (let round = 0; round < 200; round += 1) {
      const { state, lagBytes } = this.#sender.status();
      const isSettled = state === 'replicating' && lagBytes === 0 && this.#work.length === 0 && this.#waiting.length === 0 && this.#underWay.length === 0;
      if (isSettled && (!untilTrusted || (this.isTrusted && this.markedBytes === 0))) return this.recovery.image;
      this.open({ isAnswerLost: false });
      this.endSlowWrites();
      this.persist();
      while (this.#work.length > 0) this.finish();
      this.send();
      this.deliver();
      this.tick();
    }
    throw new Error(`the stream does not come up: ${JSON.stringify(this.#sender.status())}`);
  }

  get markedBytes(): number {
    return this.#log.markedBytes;
  }

  get isTrusted(): boolean {
    return this.#trustedOnDisk !== undefined;
  }
}
