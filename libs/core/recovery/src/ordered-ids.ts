/** Numbers in order, mostly added at the end and removed at the beginning: both cost nothing; in between, a search and a move of what is behind. */
export class OrderedIds {
  #ids: number[] = [];
  /** Index of the first that is still there. */
  #head = 0;

  get first(): number | undefined {
    return this.#ids[this.#head];
  }

  get last(): number | undefined {
    return this.#ids.length === this.#head ? undefined : this.#ids.at(-1);
  }

  /** Must not be there yet. */
  add(id: number): void {
    if (id > (this.last ?? -Infinity)) this.#ids.push(id);
    else this.#ids.splice(this.#indexFrom(id), 0, id);
  }

  /** Must be there. */
  remove(id: number): void {
    if (id === this.first) {
      this.#head += 1;
      if (this.#head > 1024 && this.#head * 2 > this.#ids.length) this.#compact();
    } else if (id === this.last) this.#ids.pop();
    else this.#ids.splice(this.#indexFrom(id), 1);
  }

  /** In order. */
  all(): readonly number[] {
    return this.#ids.slice(this.#head);
  }

  #compact(): void {
    this.#ids = this.#ids.slice(this.#head);
    this.#head = 0;
  }

  #indexFrom(id: number): number {
    let low = this.#head;
    let high = this.#ids.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ids[middle] ?? 0) < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
