import { alignDown, alignUp, assert, type Done } from '@tidemark/base';
import type { AllocationRun, Volume, WriteOptions, WriteZeroesOptions } from './volume.js';
import { assertInVolume } from './volume-check.js';

/**
 * A layer that takes any alignment, over a volume that wants whole blocks. A write of part of a block reads the block first; such writes
 * run alone, because two of them in one block would undo each other. Guests that know the block size never come that way.
 */
export class AlignedVolume implements Volume {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  /** Aligned changes under way. */
  #sharedCount = 0;
  #onNoneShared: (() => void) | undefined;
  /** The end of the newest unaligned change; aligned ones that come after it wait for it. */
  #lastAlone: Promise<void> | undefined;

  constructor(
    private readonly inner: Volume,
    private readonly blockBytes: number,
  ) {
    assert(inner.sizeBytes % blockBytes === 0, 'volume of whole blocks');
    this.sizeBytes = inner.sizeBytes;
    this.isReadOnly = inner.isReadOnly;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    assertInVolume(this, offset, target.length);
    const { start, end } = this.#around(offset, target.length);
    if (start === offset && end === offset + target.length) return await this.inner.read(offset, target);
    const bytes = new Uint8Array(end - start);
    await this.inner.read(start, bytes);
    target.set(bytes.subarray(offset - start, offset - start + target.length));
  }

  write(offset: number, source: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.#change(offset, source.length, {
      aligned: () => this.inner.write(offset, source, options),
      alone: (bytes, start) => {
        bytes.set(source, offset - start);
        return this.inner.write(start, bytes, options);
      },
    });
  }

  writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Promise<void> {
    return this.#change(offset, length, {
      aligned: () => this.inner.writeZeroes(offset, length, options),
      alone: async (bytes, start) => {
        bytes.fill(0, offset - start, offset - start + length);
        await this.inner.write(start, bytes, options);
      },
    });
  }

  flush(): Done {
    return this.inner.flush();
  }

  async allocation(offset: number, length: number): Promise<AllocationRun[]> {
    assertInVolume(this, offset, length);
    if (length === 0) return [];
    const { start, end } = this.#around(offset, length);
    const runs: AllocationRun[] = [];
    let at = start;
    for (const run of await this.inner.allocation(start, end - start)) {
      const from = Math.max(at, offset);
      const until = Math.min(at + run.length, offset + length);
      if (from < until) runs.push({ ...run, length: until - from });
      at += run.length;
    }
    return runs;
  }

  async close(): Promise<void> {
    await this.#lastAlone;
    await this.inner.close();
  }

  #around(offset: number, length: number): { readonly start: number; readonly end: number } {
    return { start: alignDown(offset, this.blockBytes), end: alignUp(offset + length, this.blockBytes) };
  }

  async #change(offset: number, length: number, how: { readonly aligned: () => Done; readonly alone: (bytes: Uint8Array, start: number) => Done }): Promise<void> {
    assertInVolume(this, offset, length);
    const { start, end } = this.#around(offset, length);
    const isAligned = start === offset && end === offset + length;
    if (isAligned) return await this.#shared(how.aligned);
    if (length === 0) return;
    await this.#alone(async () => {
      const bytes = new Uint8Array(end - start);
      await this.inner.read(start, bytes);
      await how.alone(bytes, start);
    });
  }

  async #shared(change: () => Done): Promise<void> {
    while (this.#lastAlone !== undefined) await this.#lastAlone;
    this.#sharedCount += 1;
    try {
      await change();
    } finally {
      this.#sharedCount -= 1;
      if (this.#sharedCount === 0) this.#onNoneShared?.();
    }
  }

  async #alone(change: () => Promise<void>): Promise<void> {
    const before = this.#lastAlone;
    let ended: () => void = () => undefined;
    const own = new Promise<void>((resolve) => (ended = resolve));
    this.#lastAlone = own;
    try {
      await before;
      if (this.#sharedCount > 0) await new Promise<void>((resolve) => (this.#onNoneShared = resolve));
      await change();
    } finally {
      if (this.#lastAlone === own) this.#lastAlone = undefined;
      ended();
    }
  }
}
