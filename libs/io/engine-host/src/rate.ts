/** Rate of a counter over the last seconds, from samples taken now and then. */
export class RateMeter {
  #value: number | undefined;
  #last: { readonly atMs: number; readonly count: number } | undefined;

  /** Per second, smoothed over about three samples. Samples closer than 200 ms are left out. */
  sample(count: number, nowMs: number): number {
    const last = this.#last;
    if (!last) {
      this.#last = { atMs: nowMs, count };
      return 0;
    }
    const elapsedMs = nowMs - last.atMs;
    if (elapsedMs < 200) return this.#value ?? 0;
    const current = (Math.max(0, count - last.count) * 1000) / elapsedMs;
    const smoothed = this.#value === undefined ? current : (this.#value + current) / 2;
    this.#value = smoothed < 1 ? current : smoothed;
    this.#last = { atMs: nowMs, count };
    return this.#value;
  }
}
