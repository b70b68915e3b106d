import { MiB, ProtocolError } from '@tidemark/base';
import { recordRawBytes } from '@tidemark/frame';
import type { BudgetShare } from './memory-budget.js';
import { RECORD_PAYLOAD_BYTES_MAX } from './send-queue.js';

/** 16 MiB: at 80 ms round trip this allows 200 MiB/s; 1 Gbit/s needs 9.6 MiB under way, so one link stays full. */
export const CREDIT_BYTES_MAX = 16 * MiB;

interface PendingFrame {
  readonly lastSeq: number;
  readonly rawBytes: number;
}

/** What a stream that was quiet may send at once; a journal that keeps up earns more within a few round trips. */
export const CREDIT_BYTES_FIRST = 1 * MiB;
/** Less would not take every record of a sender: rather none, for now. */
export const CREDIT_BYTES_MIN = recordRawBytes(RECORD_PAYLOAD_BYTES_MAX);
/** A lower credit that the sender was told so many ticks ago is in force: what comes beyond it is sent once more. */
const REVOKE_TICKS = 5;

/**
 * Credit of one incarnation: raw bytes beyond the durable position. All streams of a VRA take theirs from one budget, so that what they are allowed together never
 * passes it, even if no journal moves any more. A stream gets what its journal made durable within the last second or two: a journal that keeps up has the
 * whole window after a few round trips, a slow one has little under way, and a quiet one leaves its memory to others.
 *
 * A credit that was given counts until the sender has surely heard of the lower one. One frame that is longer than the window is taken when nothing else is under way;
 * it is in memory already, so the budget counts it and gives the others less.
 */
export class ReceiveWindow {
  readonly #creditBytesMin: number;
  #pending: PendingFrame[] = [];
  #pendingBytes = 0;
  /** Raw bytes beyond the durable position that the sender may believe to be allowed. */
  #grantedBytes = 0;
  /** Most that it was told since the last look, and between that and the one before. */
  #toldBytes = 0;
  #toldBeforeBytes = 0;
  #reservedBytes = 0;
  #tickCount = 0;
  /** Made durable since the last tick, and between that and the one before. */
  #movedBytes = 0;
  #movedBeforeBytes = 0;

  /** Without a share the credit is always `creditBytesMax`. */
  constructor(
    private readonly creditBytesMax: number,
    private readonly share: BudgetShare | undefined,
  ) {
    this.#creditBytesMin = Math.min(CREDIT_BYTES_MIN, creditBytesMax);
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** What the sender is to be told now; what it was told before is in force as well. 0: no memory, ask again with the next tick. */
  grant(): number {
    const wantedBytes = this.#wantedBytes();
    for (let bytes = wantedBytes; bytes > this.#grantedBytes && bytes >= this.#creditBytesMin; bytes = this.#lessThan(bytes)) {
      if (!this.#tryReserve(bytes)) continue;
      this.#grantedBytes = bytes;
      break;
    }
    const creditBytes = Math.min(wantedBytes, this.#grantedBytes);
    this.#toldBytes = Math.max(this.#toldBytes, creditBytes);
    return creditBytes;
  }

  /** Every second or so. */
  tick(): void {
    this.#movedBeforeBytes = this.#movedBytes;
    this.#movedBytes = 0;
    this.#tickCount += 1;
    if (this.#tickCount % REVOKE_TICKS !== 0) return;
    this.#grantedBytes = Math.min(this.#grantedBytes, Math.max(this.#toldBytes, this.#toldBeforeBytes));
    this.#toldBeforeBytes = this.#toldBytes;
    this.#toldBytes = 0;
    this.#releaseSurplus();
  }

  /** False: beyond the credit that is in force by now; the sender may not have heard of it. Throws ProtocolError for what no credit has ever allowed. */
  received(frame: PendingFrame): boolean {
    if (this.#pendingBytes > 0 && this.#pendingBytes + frame.rawBytes > this.#grantedBytes) {
      if (this.#pendingBytes + frame.rawBytes <= this.creditBytesMax) return false;
      throw new ProtocolError('PROTOCOL_LIMIT', `${frame.rawBytes} raw bytes beyond the credit of ${this.#grantedBytes}`);
    }
    this.#pending.push(frame);
    this.#pendingBytes += frame.rawBytes;
    const missingBytes = this.#pendingBytes - this.#reservedBytes;
    if (missingBytes <= 0) return true;
    this.share?.reserve(missingBytes);
    this.#reservedBytes += missingBytes;
    return true;
  }

  /** The journal is durable up to `seq`. Returns the end of the newest frame that lies wholly below it; undefined if that is none. */
  durable(seq: number): number | undefined {
    let count = 0;
    let bytes = 0;
    let lastSeq: number | undefined;
    for (const frame of this.#pending) {
      if (frame.lastSeq > seq) break;
      count += 1;
      bytes += frame.rawBytes;
      lastSeq = frame.lastSeq;
    }
    if (count > 0) this.#pending = this.#pending.slice(count);
    this.#pendingBytes -= bytes;
    this.#movedBytes += bytes;
    this.#grantedBytes = Math.max(0, this.#grantedBytes - bytes);
    this.#toldBytes = Math.max(0, this.#toldBytes - bytes);
    this.#toldBeforeBytes = Math.max(0, this.#toldBeforeBytes - bytes);
    this.#releaseSurplus();
    return lastSeq;
  }

  /** Nobody sends under this credit any more; what has come stays until it is durable. */
  close(): void {
    this.#grantedBytes = 0;
    this.#releaseSurplus();
  }

  /** What has come is not wanted any more, or is somebody else's by now. */
  clear(): void {
    this.#pending = [];
    this.#pendingBytes = 0;
    this.close();
  }

  #wantedBytes(): number {
    if (!this.share) return this.creditBytesMax;
    const firstBytes = Math.min(CREDIT_BYTES_FIRST, Math.max(this.#creditBytesMin, this.share.guaranteedBytes));
    return Math.min(this.creditBytesMax, Math.max(firstBytes, this.#movedBytes, this.#movedBeforeBytes));
  }

  /** Half of it; the smallest credit before none. */
  #lessThan(bytes: number): number {
    return bytes > this.#creditBytesMin ? Math.max(this.#creditBytesMin, Math.floor(bytes / 2)) : 0;
  }

  #tryReserve(bytes: number): boolean {
    const missingBytes = bytes - this.#reservedBytes;
    if (missingBytes <= 0) return true;
    if (this.share?.tryReserve(missingBytes) === false) return false;
    this.#reservedBytes += missingBytes;
    return true;
  }

  #releaseSurplus(): void {
    const surplusBytes = this.#reservedBytes - Math.max(this.#grantedBytes, this.#pendingBytes);
    if (surplusBytes <= 0) return;
    this.share?.release(surplusBytes);
    this.#reservedBytes -= surplusBytes;
  }
}
