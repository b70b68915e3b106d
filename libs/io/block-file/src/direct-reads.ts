import { closeSync } from 'node:fs';
import { Lane, PAGE_BYTES, type Sys } from '@tidemark/sys';

/** Below this the hop to a thread costs more than the copy from the page cache. */
const DIRECT_BYTES_MIN = 64 * 1024;
/**
 * Of one datastore, whatever the number of volumes. On ext4 a direct read holds the file's lock while the disk works, and a guest's write to the file waits for
 * those in flight (no new one begins before it): two of these are 5 ms of a disk that reads 100 MB/s. More made no sync faster here (1.6 GB/s), and guests wait longer.
 */
const DIRECT_READS_MAX = 2;
const DIRECT_BYTES_MAX = 256 * 1024;

const lanesOfDevices = new Map<number, Lane>();

/** Reads of a file past the page cache, through a descriptor of their own, where they can be had. */
export class DirectReads {
  readonly #lane: Lane;
  /** undefined: not opened yet; null: there are none. */
  #directFd: number | null | undefined;

  constructor(
    private readonly sys: Sys,
    private readonly file: { readonly fd: number; readonly device: number },
  ) {
    this.#lane = laneOf(file.device);
    if (!sys.isAvailable) this.#directFd = null;
  }

  /** False: read it as ever. */
  canTry(offset: number, target: Uint8Array): boolean {
    if (target.length < DIRECT_BYTES_MIN || offset % PAGE_BYTES !== 0 || this.#directFd === null) return false;
    if (this.sys.addressOf(target) % BigInt(PAGE_BYTES) !== 0n) return false;
    this.#directFd ??= this.#open();
    return this.#directFd !== null;
  }

  /** How many bytes of `target`, from its start on, were read: the rest is for an ordinary read. */
  async read(offset: number, target: Uint8Array): Promise<number> {
    const wholePages = target.subarray(0, target.length - (target.length % PAGE_BYTES));
    let at = 0;
    while (at < wholePages.length) {
      const piece = wholePages.subarray(at, at + DIRECT_BYTES_MAX);
      const read = await this.#lane.run(async () => (typeof this.#directFd === 'number' ? await this.sys.readDirect(this.#directFd, piece, offset + at) : 0));
      at += read;
      if (read < piece.length) break;
    }
    return at;
  }

  /** Nothing is being read any more. */
  close(): void {
    if (typeof this.#directFd === 'number') closeSync(this.#directFd);
    this.#directFd = null;
  }

  #open(): number | null {
    try {
      return this.sys.openDirect(this.file.fd);
    } catch {
      return null; // no /proc, or a file system without direct reads: all is read as ever
    }
  }
}

function laneOf(device: number): Lane {
  let lane = lanesOfDevices.get(device);
  if (lane === undefined) {
    lane = new Lane(DIRECT_READS_MAX);
    lanesOfDevices.set(device, lane);
  }
  return lane;
}
