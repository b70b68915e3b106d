const SAMPLES = 1024;

/** The last holds of guest completions, for the operator's p99. */
export class HoldTimes {
  readonly #samples = new Float64Array(SAMPLES);
  #count = 0;
  #maxMs = 0;

  add(ms: number): void {
    this.#samples[this.#count % SAMPLES] = ms;
    this.#count += 1;
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  /** Nearest rank over the last {@link SAMPLES} holds; 0 without any. */
  get p50Ms(): number {
    return this.#rank(0.5);
  }

  get p99Ms(): number {
    return this.#rank(0.99);
  }

  #rank(share: number): number {
    const sorted = this.#samples.slice(0, Math.min(this.#count, SAMPLES)).sort();
    return sorted[Math.ceil(sorted.length * share) - 1] ?? 0;
  }
}
