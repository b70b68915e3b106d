/** Comparisons under way on one connection: replies that nobody reads yet stay below 1 MiB, whatever the number of streams and the speed of the link. */
export const PEER_COMPARES_MAX = 128;

/** What the streams of one connection share of it for comparisons. A stream that got nothing is called when there is room, first come first served. */
export class CompareQuota<T extends { work(queuedBytes: number): void }> {
  #count = 0;
  readonly #waiting = new Set<T>();

  tryTake(stream: T): boolean {
    if (this.#count >= PEER_COMPARES_MAX) {
      this.#waiting.add(stream);
      return false;
    }
    this.#waiting.delete(stream);
    this.#count += 1;
    return true;
  }

  give(count: number): void {
    this.#count -= count;
    for (const stream of this.#waiting) {
      if (count <= 0) return;
      count -= 1;
      this.#waiting.delete(stream);
      stream.work(0);
    }
  }

  forget(stream: T): void {
    this.#waiting.delete(stream);
  }
}
