import { MiB, ProtocolError } from '@tidemark/base';

/** 16 MiB: at 80 ms round trip this allows 200 MiB/s; 1 Gbit/s needs 9.6 MiB under way, so one link stays full. */
export const CREDIT_BYTES_MAX = 16 * MiB;

interface PendingFrame {
  readonly lastSeq: number;
  readonly rawBytes: number;
}

/**
 * Credit of one incarnation. The credit counts from the durable position, so while the journal keeps up it is always the whole window;
 * a credit that was given cannot be taken back before the sender has heard of it. Memory is bounded by the window plus one frame: a
 * frame that is longer than the window is taken when nothing else is under way.
 */
export class ReceiveWindow {
  #pending: PendingFrame[] = [];
  #pendingBytes = 0;
  /** Raw bytes beyond the durable position that the sender may have been allowed. */
  #grantedBytes = 0;

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** The sender is told: so much beyond the durable position. */
  grant(creditBytes: number): void {
    this.#grantedBytes = Math.max(this.#grantedBytes, creditBytes);
  }

  /** Throws ProtocolError for a frame that was not allowed. */
  received(frame: PendingFrame): void {
    if (this.#pendingBytes > 0 && this.#pendingBytes + frame.rawBytes > this.#grantedBytes) {
      throw new ProtocolError('PROTOCOL_LIMIT', `${frame.rawBytes} raw bytes beyond the credit of ${this.#grantedBytes}`);
    }
    this.#pending.push(frame);
    this.#pendingBytes += frame.rawBytes;
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
    this.#grantedBytes = Math.max(0, this.#grantedBytes - bytes);
    return lastSeq;
  }
}
