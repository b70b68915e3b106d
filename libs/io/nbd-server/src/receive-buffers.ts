import type { NbdServerSession } from '@tidemark/nbd';

/** Payloads are handed over as parts of a slab, so a slab is never reused; small, so that one kept payload pins little. */
const SLAB_BYTES = 64 * 1024;
/** Less room than this is not worth a system call. */
const ROOM_BYTES_MIN = 16 * 1024;
/** After a payload that long the next one is expected to be as long: then only its header is read, and it goes straight to its place. */
const BULK_BYTES_MIN = 32 * 1024;
const HEADER_BYTES = 28;

/** Decides where the socket reads to: a payload's own place where one is being gathered, a slab elsewhere. */
export class ReceiveBuffers {
  readonly #session: NbdServerSession;
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
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
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
    }
    return this.#slab.subarray(this.#used, this.#isBulk ? this.#used + HEADER_BYTES : SLAB_BYTES);
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
