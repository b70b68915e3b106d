import { NbdClient } from './nbd-client.js';

const BLOCK_BYTES = 4096;
const BLOCKS = 256;
/** Odd, so that every block comes once in {@link BLOCKS} writes. */
const STRIDE = 73;

/** Writes one block after the other without a pause. Block contents say which write they are of: an image tells how many writes it has, and must be exactly those. */
export class CrossingGuest {
  static readonly diskBytes = BLOCKS * BLOCK_BYTES;
  #issued = 0;
  #completed = 0;
  #isStopped = false;
  #writing: Promise<void> = Promise.resolve();

  /** Its disk has what it wrote before. */
  async start(socketPath: string, exportName: string): Promise<void> {
    const disk = await NbdClient.connect(socketPath, exportName);
    this.#isStopped = false;
    this.#writing = this.#run(disk).finally(() => disk.close());
    // Whoever stops it, or reads `completed`, meets what went wrong.
    this.#writing.catch(() => undefined);
  }

  /** Writes that were answered. */
  get completed(): number {
    return this.#completed;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#writing;
  }

  async #run(disk: NbdClient): Promise<void> {
    while (!this.#isStopped) {
      this.#issued += 1;
      await disk.write(blockOf(this.#issued) * BLOCK_BYTES, contentOf(this.#issued));
      this.#completed = this.#issued;
    }
  }

  /** How many of its writes the image has. Throws when it is not the image after exactly the first so many. */
  writesIn(image: Buffer): number {
    const count = Math.max(...Array.from({ length: BLOCKS }, (_, block) => image.readUInt32LE(block * BLOCK_BYTES)));
    if (count > this.#issued) throw new Error(`write ${String(count)} was never made`);
    const expected = Buffer.alloc(CrossingGuest.diskBytes);
    for (let write = Math.max(1, count - BLOCKS + 1); write <= count; write += 1) expected.set(contentOf(write), blockOf(write) * BLOCK_BYTES);
    const wrong = Array.from({ length: BLOCKS }, (_, block) => block * BLOCK_BYTES).find((at) => image.compare(expected, at, at + BLOCK_BYTES, at, at + BLOCK_BYTES) !== 0);
    if (wrong !== undefined) throw new Error(`after ${String(count)} writes byte ${String(wrong)} is of write ${String(image.readUInt32LE(wrong))}, not of ${String(expected.readUInt32LE(wrong))}`);
    return count;
  }
}

const blockOf = (write: number): number => (write * STRIDE) % BLOCKS;

function contentOf(write: number): Buffer {
  const number = Buffer.alloc(4);
  number.writeUInt32LE(write);
  return Buffer.alloc(BLOCK_BYTES, number);
}
