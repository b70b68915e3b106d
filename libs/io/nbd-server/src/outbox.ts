import type { Socket } from 'node:net';

const SLAB_BYTES = 128 * 1024;

/**
 * Replies on their way out. Small ones are written into one slab side by side, so that a tick's replies leave in one
 * system call: at 4k that is worth more than anything else in this server. Slabs are never written twice (the kernel may
 * not have taken them yet); the collector takes them back.
 */
export class Outbox {
  readonly #socket: Socket;
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
  #view = new DataView(this.#slab.buffer);
  #used = 0;
  // The open run: committed bytes of #runSlab from #runStart to #runEnd, not yet in #ready.
  #runSlab: Buffer = this.#slab;
  #runStart = 0;
  #runEnd = 0;
  #ready: Uint8Array[] = [];
  #bytes = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes committed and not yet flushed. */
  get pendingBytes(): number {
    return this.#bytes;
  }

  /** Room in the slab for `bytes`, to be filled and then committed, in any order and at any time. */
  reserve(bytes: number): Reservation {
    if (bytes > SLAB_BYTES) {
      const own = Buffer.allocUnsafeSlow(bytes);
      return { slab: own, view: new DataView(own.buffer), start: 0, end: bytes };
    }
    if (this.#used + bytes > SLAB_BYTES) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#view = new DataView(this.#slab.buffer);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += bytes;
    return { slab: this.#slab, view: this.#view, start, end: this.#used };
  }

  commit(reservation: Reservation): void {
    const { slab, start, end } = reservation;
    this.#bytes += end - start;
    if (slab === this.#runSlab && start === this.#runEnd) {
      this.#runEnd = end;
      return;
    }
    this.#closeRun();
    this.#runSlab = slab;
    this.#runStart = start;
    this.#runEnd = end;
  }

  /** Bytes that are made already; they must not change any more. */
  push(bytes: Uint8Array): void {
    this.#closeRun();
    this.#ready.push(bytes);
    this.#bytes += bytes.length;
  }

  flush(): void {
    if (this.#bytes === 0) return;
    this.#closeRun();
    this.#bytes = 0;
    const ready = this.#ready;
    this.#ready = [];
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    const [only] = ready;
    if (ready.length === 1 && only !== undefined) {
      this.#socket.write(only);
      return;
    }
    this.#socket.cork();
    for (const bytes of ready) this.#socket.write(bytes);
    this.#socket.uncork();
  }

  #closeRun(): void {
    if (this.#runEnd > this.#runStart) this.#ready.push(this.#runSlab.subarray(this.#runStart, this.#runEnd));
    this.#runStart = this.#runEnd;
  }
}

export interface Reservation {
  readonly slab: Buffer;
  /** Over the whole slab: add `start`. */
  readonly view: DataView;
  readonly start: number;
  readonly end: number;
}
