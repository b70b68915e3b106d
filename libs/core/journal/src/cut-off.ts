import type { SegmentFound } from './scanner.js';

interface FileBytes {
  readonly segment: number;
  readonly bytes: number;
}

/**
 * What a break has left on the disk and no record's place is in: files that a later generation has cut off, and the ends of files behind the last record that counts. Nobody reads them but who
 * opens the journal while its newest generation does not read; they take space all the same.
 */
export class CutOff {
  /** Lowest number first. */
  #files: FileBytes[] = [];
  /** By segment that counts. */
  readonly #ends = new Map<number, number>();

  /** `isOver`: it is about to be removed, or cut. */
  found(files: readonly SegmentFound[], counted: readonly FileBytes[], isOver: (segment: number) => boolean): void {
    for (const { segment, fileBytes } of [...files].sort((a, b) => a.segment - b.segment)) {
      const own = counted.find((each) => each.segment === segment);
      if (isOver(segment)) continue;
      if (own === undefined) this.#files.push({ segment, bytes: fileBytes });
      else this.addEnd(segment, fileBytes - own.bytes);
    }
  }

  addEnd(segment: number, bytes: number): void {
    if (bytes > 0) this.#ends.set(segment, (this.#ends.get(segment) ?? 0) + bytes);
  }

  /** It goes with its file. */
  endOf(segment: number): number {
    return this.#ends.get(segment) ?? 0;
  }

  get fileBytes(): number {
    return this.#files.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get bytes(): number {
    return [...this.#ends.values()].reduce((sum, bytes) => sum + bytes, this.fileBytes);
  }

  /**
   * The one to be removed next: of the oldest files that stand together the last. Where the header behind them does not read any more, whoever scans goes on at the nearest file before it, which has
   * all of its own forerunners in this order.
   */
  get next(): FileBytes | undefined {
    return this.#files.find(({ segment }, i) => this.#files[i + 1]?.segment !== segment + 1);
  }

  removed(segment: number): void {
    this.#files = this.#files.filter((file) => file.segment !== segment);
    this.#ends.delete(segment);
  }
}
