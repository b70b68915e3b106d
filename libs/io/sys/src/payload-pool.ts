import { assert, type SharedMemory } from '@tidemark/base';
import { PAGE_BYTES, pageAligned } from './page-aligned.js';

const KiB = 1024;
/** Below this length fresh memory costs less than keeping account of used one. */
const POOLED_BYTES_MIN = 4 * KiB;
/** From here on memory begins on a page, as direct reads want it. */
const ALIGNED_BYTES_MIN = 64 * KiB;
/** Lies ready in the whole process at any time, whatever the number of connections. */
const KEPT_BYTES = 32 * KiB * KiB;
/** Lies ready after a burst, until {@link PayloadPool.trim} finds that it is not needed: a queue that goes up and down by hundreds of MiB must not make them anew each time. */
const READY_BYTES_MAX = 128 * KiB * KiB;

interface Block {
  readonly memory: Buffer;
  holders: number;
}

/**
 * Memory of payloads and frame bodies, used again when its last holder lets go. Fresh memory costs a page fault per 4 KiB (at 64 KiB as much as
 * the copy into the page cache), and V8 answers external memory that comes and goes with whole mark-sweep collections: they took a third
 * of the protecting process at 64 KiB, and made the 99th percentile at 4 KiB.
 */
export class PayloadPool implements SharedMemory {
  /** By capacity. */
  readonly #free = new Map<number, Block[]>();
  /** By the ArrayBuffer, which every part of the memory shares. A block that nobody refers to any more goes with it. */
  readonly #blocks = new WeakMap<ArrayBufferLike, Block>();
  #bytes = 0;
  /** The least that lay ready since the last trim: nobody needed it. */
  #idleBytes = 0;

  /** What lies ready, held by nobody. */
  get readyBytes(): number {
    return this.#bytes;
  }

  /** Every second or so: what lay ready all the time since the last call is not kept, down to 32 MiB. */
  trim(): void {
    const keptBytes = Math.max(KEPT_BYTES, this.#bytes - this.#idleBytes);
    for (const [capacity, blocks] of [...this.#free].sort(([a], [b]) => b - a)) {
      while (this.#bytes > keptBytes && blocks.length > 0) {
        blocks.pop();
        this.#bytes -= capacity;
      }
    }
    this.#idleBytes = this.#bytes;
  }

  /** `bytes` of memory, what they hold is undefined. Nobody holds it yet: it is used again only after a retain and its release. */
  take(bytes: number): Buffer {
    if (bytes < POOLED_BYTES_MIN) return Buffer.allocUnsafeSlow(bytes);
    const capacity = capacityOf(bytes);
    const used = this.#free.get(capacity)?.pop();
    if (used !== undefined) {
      this.#bytes -= capacity;
      this.#idleBytes = Math.min(this.#idleBytes, this.#bytes);
      return bytes === capacity ? used.memory : used.memory.subarray(0, bytes);
    }
    const memory = capacity < ALIGNED_BYTES_MIN ? Buffer.allocUnsafeSlow(capacity) : pageAligned(Buffer.allocUnsafeSlow(capacity + PAGE_BYTES), capacity);
    this.#blocks.set(memory.buffer, { memory, holders: 0 });
    return bytes === capacity ? memory : memory.subarray(0, bytes);
  }

  retain(part: Uint8Array): void {
    const block = this.#blocks.get(part.buffer);
    if (block !== undefined) block.holders += 1;
  }

  release(part: Uint8Array): void {
    const block = this.#blocks.get(part.buffer);
    if (block === undefined) return;
    assert(block.holders > 0, 'memory that is held');
    block.holders -= 1;
    if (block.holders === 0) this.#giveBack(block);
  }

  #giveBack(block: Block): void {
    const capacity = block.memory.length;
    if (this.#bytes + capacity > READY_BYTES_MAX) {
      this.#blocks.delete(block.memory.buffer);
      return;
    }
    this.#bytes += capacity;
    const free = this.#free.get(capacity);
    if (free === undefined) this.#free.set(capacity, [block]);
    else free.push(block);
  }
}

/** 4, 6, 8, 12, 16 … KiB: lengths that differ a little share their memory, at most half of it is idle (and then never touched). */
function capacityOf(bytes: number): number {
  const power = 2 ** Math.ceil(Math.log2(bytes));
  const between = (power / 4) * 3;
  return bytes <= between && between >= POOLED_BYTES_MIN ? between : power;
}

/** One for the whole process: guests write and peers send at different times. */
export const payloadPool = new PayloadPool();
