import type { NbdServerSession } from '@tidemark/nbd';
import { payloadPool } from '@tidemark/sys';

/** Payloads are handed over as parts of a slab, which is used again when all of them are free; small, so that one kept payload pins little. */
const SLAB_BYTES = 128 * 1024;
/** Less room than this is not worth a system call. */
const ROOM_BYTES_MIN = 16 * 1024;
/** After a payload that long the next one is expected to be as long: then only its header is read, and it goes straight to its place. */
const BULK_BYTES_MIN = 32 * 1024;
const HEADER_BYTES = 28;

/** Decides where the socket reads to: a payload's own place where one is being gathered, a slab elsewhere. */
export class ReceiveBuffers {
  readonly #session: NbdServerSession;
  #slab = newSlab();
  #used = 0;
  #isPayload = false;
  #isBulk = false;

  constructor(session: NbdServerSession) {
    this.#session = session;
  }

  /** To be told of every payload. */
  payloadTaken(bytes: number): void {
    this.#isBulk = bytes >= BULK_BYTES_MIN;
  }

  /** Where the next bytes go. */
  next(): Uint8Array {
    const rest = this.#session.payloadRest;
    this.#isPayload = rest !== undefined && (rest.length >= ROOM_BYTES_MIN || this.#isBulk);
    if (rest !== undefined && this.#isPayload) return rest;
    if (SLAB_BYTES - this.#used < ROOM_BYTES_MIN) {
      this.close();
      this.#slab = newSlab();
      this.#used = 0;
    }
    return this.#slab.subarray(this.#used, this.#isBulk ? this.#used + HEADER_BYTES : SLAB_BYTES);
  }

  /** Payloads in the slab keep it; nothing else needs it any more. */
  close(): void {
    this.#session.detach();
    payloadPool.release(this.#slab);
  }

  /** So many bytes arrived in the buffer that {@link next} gave last. */
  arrived(bytes: number, buffer: Uint8Array): void {
    if (this.#isPayload) {
      this.#session.payloadArrived(bytes);
      return;
    }
    this.#used += bytes;
    this.#session.feed(buffer.subarray(0, bytes));
  }
}

function newSlab(): Buffer {
  const slab = payloadPool.take(SLAB_BYTES);
  payloadPool.retain(slab);
  return slab;
}
