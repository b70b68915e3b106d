import { Splitter, type GuestWrite, type SplitterEffect } from '@tidemark/splitter';
import { blankImage, copyImage, type Image } from './model-journal.js';

interface LocalWrite {
  readonly writeId: number;
  readonly write: GuestWrite;
  isApplied: boolean;
}

/**
 * A protected host: disks, guest writes under way, the splitter. A write reaches the disk some time before its end is reported, in
 * two halves, so that reads may see it early.
 */
export class ModelHost {
  readonly disk: Image;
  /** The disk after the captured writes, in the order of capture: what a prefix means. */
  captured: Image;
  splitter = new Splitter();
  #writes = new Map<number, GuestWrite>();
  #local: LocalWrite[] = [];
  #effects: SplitterEffect[] = [];
  completed = new Set<number>();

  constructor(sizesBytes: readonly number[]) {
    this.disk = blankImage(sizesBytes);
    this.captured = blankImage(sizesBytes);
    this.#watch();
  }

  get localCount(): number {
    return this.#local.length;
  }

  write(write: GuestWrite): number {
    const writeId = this.splitter.submitWrite(write, this.#effects);
    this.#writes.set(writeId, write);
    this.#drain();
    return writeId;
  }

  /** The bytes reach the disk; the end is not reported yet. */
  applyLocal(pick: number): void {
    const local = this.#local[pick % Math.max(1, this.#local.length)];
    if (local === undefined) return;
    local.isApplied = true;
    put(this.disk, local.write, local.write.length);
  }

  /** Reports the end of a local write; a failed one leaves its first half on the disk. */
  endLocal(pick: number, isOk: boolean): void {
    const [local] = this.#local.splice(pick % Math.max(1, this.#local.length), 1);
    if (local === undefined) return;
    if (!local.isApplied) put(this.disk, local.write, isOk ? local.write.length : Math.ceil(local.write.length / 2));
    this.splitter.localWriteDone(local.writeId, isOk, this.#effects);
    this.#drain();
  }

  hold(): void {
    this.splitter.hold('p', this.#effects);
  }

  release(): void {
    this.splitter.release('p', this.#effects);
    this.#drain();
  }

  /** The process dies: what is under way may or may not have reached the disk, and is never captured. */
  restart(): void {
    this.splitter = new Splitter();
    this.#writes = new Map();
    this.#local = [];
    this.#effects = [];
    this.captured = copyImage(this.disk);
    this.#watch();
  }

  #watch(): void {
    this.splitter.addSink('model', {
      capture: (write) => put(this.captured, write, write.length),
      captureFailed: ({ volume, offset, length }) => {
        const now = this.disk[volume]?.subarray(offset, offset + length);
        if (now !== undefined) this.captured[volume]?.set(now, offset);
      },
    });
  }

  #drain(): void {
    for (const effect of this.#effects.splice(0)) {
      if (effect.kind === 'complete') {
        this.#writes.delete(effect.writeId);
        this.completed.add(effect.writeId);
      } else if (effect.kind === 'writeLocal') {
        const write = this.#writes.get(effect.writeId);
        if (write !== undefined) this.#local.push({ writeId: effect.writeId, write, isApplied: false });
      }
    }
  }

}

function put(image: Image, write: GuestWrite, length: number): void {
  const bytes = image[write.volume];
  if (write.payload === undefined) bytes?.fill(0, write.offset, write.offset + length);
  else bytes?.set(write.payload.subarray(0, length), write.offset);
}
