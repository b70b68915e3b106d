/** Below this length fresh memory costs less than keeping account of used one. */
const POOLED_BYTES_MIN = 32 * 1024;
/** What lies ready in the whole process, whatever the number of connections. */
const POOL_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Memory of long payloads whose volume has promised not to keep them. Fresh memory costs a page fault per 4 KiB: at 64 KiB
 * as much as the copy into the page cache, at 1 MiB a fifth of the whole request.
 */
export class PayloadPool {
  readonly #free = new Map<number, Uint8Array[]>();
  #bytes = 0;

  /** Of exactly `bytes`; what it holds is undefined. */
  take(bytes: number): Uint8Array {
    const used = bytes >= POOLED_BYTES_MIN ? this.#free.get(bytes)?.pop() : undefined;
    if (used === undefined) return Buffer.allocUnsafeSlow(bytes);
    this.#bytes -= bytes;
    return used;
  }

  /** Gives back a payload that nobody looks at any more. A part of a larger buffer is left alone. */
  giveBack(payload: Uint8Array): void {
    const bytes = payload.length;
    if (bytes < POOLED_BYTES_MIN || payload.buffer.byteLength !== bytes || this.#bytes + bytes > POOL_BYTES_MAX) return;
    this.#bytes += bytes;
    const free = this.#free.get(bytes);
    if (free === undefined) this.#free.set(bytes, [payload]);
    else free.push(payload);
  }
}

/** One for all connections: guests write at different times. */
export const payloadPool = new PayloadPool();
