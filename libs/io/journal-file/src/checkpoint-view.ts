import { assert } from '@tidemark/base';
import type { HeldCheckpoint } from '@tidemark/journal';
import type { Volume } from '@tidemark/volume';
import type { FrameReader } from './frame-reader.js';
import { Promotion } from './promotion.js';
import type { ScratchJournal } from './scratch-journal.js';
import type { PromotionProgress, ViewPhase } from './types.js';
import { type ImageSource, ViewVolume } from './view-volume.js';
import { WriteGate } from './write-gate.js';

export interface CheckpointViewParts {
  readonly checkpoint: HeldCheckpoint;
  readonly volumes: readonly { readonly sizeBytes: number; readonly mirror: Volume; readonly base: ImageSource | undefined }[];
  readonly isReadOnly: boolean;
  readonly reader: FrameReader;
  /** undefined: read-only, or promoted already. */
  readonly scratch: ScratchJournal | undefined;
  readonly isPromotionBegun: boolean;
  readonly startPromotion: () => Promise<void>;
  readonly finishPromotion: () => Promise<void>;
  /** The journal is not needed any more: closed, or promoted. */
  readonly onReleased: () => void;
}

/** The disks of a VM at one checkpoint: mirror + journal up to it, and scratch on top. */
export class CheckpointView {
  readonly checkpoint: HeldCheckpoint;
  /** By volume index. Closing one only makes that one refuse; the view owns what is below. */
  readonly volumes: readonly ViewVolume[];
  readonly #parts: CheckpointViewParts;
  readonly #promotion: Promotion;
  #phase: ViewPhase;
  #promoting: Promise<void> | undefined;
  #isReleased = false;

  constructor(parts: CheckpointViewParts) {
    this.#parts = parts;
    this.checkpoint = parts.checkpoint;
    const isPromoted = parts.volumes.every(({ base }) => base === undefined);
    this.#phase = isPromoted ? 'promoted' : parts.isPromotionBegun ? 'promoting' : 'open';
    const gate = new WriteGate(() => this.#promotion.hasRoom);
    const { reader, scratch, isReadOnly } = parts;
    this.volumes = parts.volumes.map((volume, index) => new ViewVolume({ ...volume, index, isReadOnly, reader, scratch, gate }));
    this.#promotion = new Promotion({
      volumes: this.volumes,
      gate,
      syncMirrors: async () => void (await Promise.all(parts.volumes.map(async ({ mirror }) => await mirror.flush()))),
      start: parts.startPromotion,
      finish: parts.finishPromotion,
    });
    scratch?.attach(({ volume, offset, length }, place) => this.volumes[volume]?.noteScratch(offset, length, place));
    this.#isReleased = isPromoted;
  }

  /** `promoting` right after opening: an earlier process began it; call `promote` to go on. */
  get phase(): ViewPhase {
    return this.#phase;
  }

  get progress(): PromotionProgress {
    return this.#promotion.progress;
  }

  /** The guest's newest write was refused for want of room. */
  get isScratchFull(): boolean {
    return this.#parts.scratch?.isFull ?? false;
  }

  get scratchBytes(): number {
    return this.#parts.scratch?.bytes ?? 0;
  }

  /**
   * Moves journal and scratch into the mirrors while the guest goes on; resolves when the mirrors alone are the disks, durably. Only after
   * commitEpoch. May be called again after a failure, and after a restart on a view with the same scratch folder.
   */
  async promote(): Promise<void> {
    if (this.#phase === 'promoted') return;
    this.#promoting ??= this.#promote();
    try {
      await this.#promoting;
    } finally {
      this.#promoting = undefined;
    }
  }

  async #promote(): Promise<void> {
    this.#phase = 'promoting';
    try {
      await this.#promotion.run();
    } catch (error) {
      this.#phase = 'failed';
      throw error;
    }
    this.#phase = 'promoted';
    // A read that began before still looks into journal and scratch.
    await Promise.all(this.volumes.map(async (volume) => await volume.readsDone()));
    this.#release();
  }

  /** Closes the disks and unpins the checkpoint. Scratch stays on disk. A promotion under way ends first. */
  async close(): Promise<void> {
    await Promise.allSettled([this.#promoting]);
    await Promise.all(this.volumes.map(async (volume) => await volume.close()));
    await this.#parts.scratch?.close();
    this.#release();
  }

  /** Deletes the scratch journal. Of a view that is not promoted only after `close`: the guest's writes are gone. */
  async dropScratch(): Promise<void> {
    assert(this.#isReleased, 'scratch is in use until the view is closed or promoted');
    await this.#parts.scratch?.remove();
  }

  #release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#parts.onReleased();
  }
}
