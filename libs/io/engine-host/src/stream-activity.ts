import { unreachable, type Done } from '@tidemark/base';
import { ACTIVITY_PERIOD_MS, ActivityKeeper, type ActivityEffect, type MarkedExtent, type Sender } from '@tidemark/replication';
import type { CaptureFence } from '@tidemark/splitter';
import type { ActivityLogFile } from './activity-log-file.js';
import type { Logger } from './types.js';

export interface StreamActivityOptions {
  readonly key: string;
  readonly sender: Sender;
  readonly sessionId: string;
  readonly guest: { readonly splitter: CaptureFence; file(slot: number): { flush(): Done } };
  /** Undefined where there could be none: then everything is compared after a crash. */
  readonly file: ActivityLogFile | undefined;
  readonly periodMs: number | undefined;
  readonly log: Logger;
  /** Monotonic, as what {@link StreamActivity.tick} is told. */
  nowMs(): number;
  /** Slot of the VM's disk for a volume, -1 if there is none. */
  slotOf(volume: number): number;
  /** Something may be sent again. */
  work(): void;
}

/** Keeps the activity log of one stream: when it can be trusted, when not, and which marks can go. Order of events: docs/spec/activity-log.md. */
export class StreamActivity {
  #file: ActivityLogFile | undefined;
  #keeper: ActivityKeeper | undefined;
  #isDistrusting = false;
  #isClosed = false;

  constructor(private readonly options: StreamActivityOptions) {
    this.use(options.file);
  }

  /** The volumes of the protection changed: another log, which knows nothing yet, takes the place of this one. */
  use(file: ActivityLogFile | undefined): void {
    this.#file = file;
    const { periodMs = ACTIVITY_PERIOD_MS } = this.options;
    this.#keeper = file && new ActivityKeeper(file.marks, { periodMs, isTrusted: file.isTrusted, volumeCount: file.volumeCount });
  }

  captured(volume: number, offset: number, length: number): void {
    this.#file?.captured(volume, offset, length);
  }

  /** The stream was opened: what the log knew of the session before holds for this one too, if less than everything is sent. */
  opened(): void {
    const { sender, sessionId } = this.options;
    if (this.#file?.isTrusted !== true || sender.isEverythingDirty || this.#file.trustedSessionId === sessionId) return;
    this.#logged(this.#file.trust(sessionId));
  }

  /**
   * True while nothing may be sent. When everything may differ the log must not say otherwise if this process ends, durably and before
   * anything is sent: what is sent may hide from the next process that the recovery site had lost something.
   */
  isHolding(): boolean {
    if (this.#isDistrusting) return true;
    if (this.#file?.mayBeTrusted !== true || !this.options.sender.isEverythingDirty) return false;
    this.#isDistrusting = true;
    this.#keeper?.distrust();
    this.#logged(this.#file.distrust().finally(() => {
      this.#isDistrusting = false;
      if (!this.#isClosed) this.options.work();
    }));
    return true;
  }

  tick(nowMs: number): void {
    const keeper = this.#keeper;
    const file = this.#file;
    if (!keeper || file?.isUsable !== true) return;
    const effects: ActivityEffect[] = [];
    keeper.step(nowMs, { fence: this.options.guest.splitter, stream: this.options.sender }, effects);
    for (const effect of effects) this.#logged(this.#carryOut(effect, keeper, file));
  }

  /** Extents of a volume that may be without writes that were completed and not flushed. */
  suspects(volume: number, sizeBytes: number): Iterable<MarkedExtent> {
    const isKnown = this.#file?.isUsable === true && this.#keeper?.isTrusted === true;
    return isKnown && this.#file ? this.#file.marks.marked(volume) : [{ volume, start: 0, end: sizeBytes }];
  }

  close(): void {
    this.#isClosed = true;
  }

  async #carryOut(effect: ActivityEffect, keeper: ActivityKeeper, file: ActivityLogFile): Promise<void> {
    const { guest, sender, sessionId } = this.options;
    switch (effect.kind) {
      case 'flush': {
        const slots = effect.volumes.map((volume) => this.options.slotOf(volume)).filter((slot) => slot >= 0);
        const ends = await Promise.allSettled(slots.map(async (slot) => await guest.file(slot).flush()));
        return keeper.flushed(this.options.nowMs(), ends.every(({ status }) => status === 'fulfilled'));
      }
      case 'writeMarks':
        await file.persist();
        return keeper.marksWritten({ fence: guest.splitter });
      case 'trust':
        if (this.#isClosed || sender.isEverythingDirty) return keeper.distrust();
        await file.trust(sessionId);
        return keeper.trusted(this.options.nowMs());
      default:
        return unreachable(effect);
    }
  }

  #logged(work: Promise<void>): void {
    const { key, log } = this.options;
    void work.catch((error: unknown) => log.error({ stream: key, error: String(error) }, 'the activity log cannot be kept'));
  }
}
