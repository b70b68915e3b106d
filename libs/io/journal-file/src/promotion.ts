import { MiB } from '@tidemark/base';
import type { PromotionProgress } from './types.js';
import type { ViewVolume } from './view-volume.js';
import type { WriteGate } from './write-gate.js';

/** One copy: small enough that a guest's own reads and writes get their turn in between. */
const STEP_BYTES = 1 * MiB;
/** What may be left to copy while guest writes are held at the end: 4 MiB take some 10 ms. */
const HELD_BYTES_MAX = 4 * MiB;
/** After the first pass guest writes wait while more than this is uncopied; it is halved with every pass, so the end comes whatever the guest does. */
const DIRTY_BYTES_MAX = 64 * MiB;

export interface PromotionParts {
  readonly volumes: readonly ViewVolume[];
  readonly gate: WriteGate;
  readonly syncMirrors: () => Promise<void>;
  /** Durable in the journal: from now on the mirrors belong to this view. */
  readonly start: () => Promise<void>;
  /** Durable in the journal: the mirrors are the disks. */
  readonly finish: () => Promise<void>;
}

/**
 * Moves the journal up to the checkpoint, then scratch, into the mirrors while the guest goes on. Until `finish` is durable scratch and journal
 * stay the truth: whenever this stops, it is begun again and copies everything once more.
 */
export class Promotion {
  #promotedBytes = 0;
  #totalBytes = 0;
  #dirtyBytesMax = Infinity;

  constructor(private readonly parts: PromotionParts) {}

  get progress(): PromotionProgress {
    return { promotedBytes: Math.min(this.#promotedBytes, this.#totalBytes), totalBytes: this.#totalBytes };
  }

  /** Room for more guest writes: see DIRTY_BYTES_MAX. */
  get hasRoom(): boolean {
    return this.#dirtyBytes <= this.#dirtyBytesMax;
  }

  async run(): Promise<void> {
    const { volumes, gate } = this.parts;
    await this.parts.start();
    for (const volume of volumes) volume.beginPromotion();
    let isDone = false;
    try {
      this.#promotedBytes = 0;
      this.#totalBytes = 0;
      for (const volume of volumes) {
        const promotableBytes = await volume.promotableBytes();
        this.#totalBytes += promotableBytes;
      }
      await this.#copyJournal();
      await this.#copyScratch();
      await this.parts.syncMirrors(); // so that little is left to sync while guest writes are held
      await this.#copyScratch();
      await gate.shut();
      await this.#copyRest();
      await this.parts.syncMirrors();
      await this.parts.finish();
      this.#promotedBytes = this.#totalBytes;
      isDone = true;
    } finally {
      this.#dirtyBytesMax = Infinity;
      for (const volume of volumes) volume.endPromotion({ isDone });
      gate.open();
    }
  }

  get #dirtyBytes(): number {
    return this.parts.volumes.reduce((sum, volume) => sum + volume.dirtyBytes, 0);
  }

  async #copyJournal(): Promise<void> {
    for (const volume of this.parts.volumes) {
      for await (const copiedBytes of volume.copyJournal(STEP_BYTES)) this.#promotedBytes += copiedBytes;
    }
  }

  /** Passes over the dirty scratch until little enough is left to hold the guest for it. */
  async #copyScratch(): Promise<void> {
    let passBytes = this.#dirtyBytes;
    while (this.#dirtyBytes > HELD_BYTES_MAX) {
      const copiedBytes = await this.#copyOne();
      passBytes -= copiedBytes;
      if (passBytes <= 0) {
        this.#dirtyBytesMax = Math.max(HELD_BYTES_MAX, Math.min(DIRTY_BYTES_MAX, this.#dirtyBytesMax / 2));
        passBytes = this.#dirtyBytes;
      }
      this.parts.gate.wake();
    }
  }

  async #copyRest(): Promise<void> {
    while ((await this.#copyOne()) > 0);
  }

  async #copyOne(): Promise<number> {
    for (const volume of this.parts.volumes) {
      const copiedBytes = await volume.copyDirty(STEP_BYTES);
      this.#promotedBytes += copiedBytes;
      if (copiedBytes > 0) return copiedBytes;
    }
    return 0;
  }
}
