import { assert, KiB } from '@tidemark/base';

/** What may leave at once after a pause, as time at the rate: longer than a busy process lets its timers wait, or the rate would not be reached. */
const BURST_MS = 200;
const BURST_BYTES_MIN = 64 * KiB;

/**
 * A rate limit with debt: whoever finds the bucket above zero sends a whole frame, however long, and the next one waits until that is paid. So
 * over any time the bytes are at most rate × time + burst + one frame, and no frame is too long to be sent.
 */
export class TokenBucket {
  #bytesPerSecond = Infinity;
  #tokens = 0;
  #filledAtMs: number;

  constructor(nowMs: number) {
    this.#filledAtMs = nowMs;
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** Infinity: no limit. What was sent before stays paid for: a debt is kept, a surplus is cut to the new burst. */
  setRate(bytesPerSecond: number, nowMs: number): void {
    assert(bytesPerSecond > 0, 'rate of the token bucket');
    if (bytesPerSecond === this.#bytesPerSecond) return;
    const wasUnlimited = this.#bytesPerSecond === Infinity;
    this.#fill(nowMs);
    this.#bytesPerSecond = bytesPerSecond;
    if (wasUnlimited) this.#tokens = 0;
    this.#tokens = Math.min(this.#tokens, this.#burstBytes());
  }

  /** 0: something may be sent now. Else ms until that is so. */
  waitMs(nowMs: number): number {
    if (this.#bytesPerSecond === Infinity) return 0;
    this.#fill(nowMs);
    return this.#tokens > 0 ? 0 : (1 - this.#tokens) / (this.#bytesPerSecond / 1000);
  }

  /** `bytes` were sent; negative: so many less than said before. */
  take(bytes: number): void {
    if (this.#bytesPerSecond !== Infinity) this.#tokens -= bytes;
  }

  #fill(nowMs: number): void {
    // A clock that stands still or is set back gives nothing.
    const elapsedMs = Math.max(0, nowMs - this.#filledAtMs);
    this.#filledAtMs = nowMs;
    if (this.#bytesPerSecond === Infinity) return;
    this.#tokens = Math.min(this.#tokens + (elapsedMs * this.#bytesPerSecond) / 1000, this.#burstBytes());
  }

  #burstBytes(): number {
    return Math.max(BURST_BYTES_MIN, (this.#bytesPerSecond * BURST_MS) / 1000);
  }
}
