/** Rate of a counter over the last seconds, from samples taken now and then. */
export class RateMeter {
  #value = 0;
  #last: { readonly atMs: number; readonly count: number } | undefined;

  /** Per second, smoothed over about three samples. Samples closer than 200 ms are left out. */
  sample(count: number, nowMs: number): number {
    const last = this.#last;
    if (!last) {
      this.#last = { atMs: nowMs, count };
      return this.#value;
    }
    const elapsedMs = nowMs - last.atMs;
    if (elapsedMs < 200) return this.#value;
    const current = (Math.max(0, count - last.count) * 1000) / elapsedMs;
    this.#value = this.#value * 0.5 + current * 0.5;
    if (this.#value < 1) this.#value = current;
    this.#last = { atMs: nowMs, count };
    return this.#value;
  }
}
