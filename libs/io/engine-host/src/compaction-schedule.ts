import { MiB } from '@tidemark/base';
import type { RecoveryHost } from './recovery-host.js';
import type { Logger } from './types.js';

/** Read per second over all journals of a VRA, half of what the scrub may: what it writes comes on top, and is a part of it. */
const BYTES_PER_SECOND = 16 * MiB;
/** A journal is looked at so often, and as often as it keeps all checkpoints: then a part of it has become thinner. */
const LOOK_MS_MAX = 5 * 60_000;
/** How long a pause is at most before it is asked whether to go on. */
const PAUSE_MS_MAX = 100;

/** What the schedule needs of a recovery. */
export type CompactedRecovery = Pick<RecoveryHost, 'key' | 'journal' | 'needsReopening' | 'thinnedSeq' | 'spec'>;

/**
 * Gives the space of thinned checkpoints back, one journal of the VRA at a time and at a low rate. What it frees is safe at any moment, so nobody waits for it, and
 * what fails is tried again.
 */
export class CompactionSchedule {
  readonly #lookedAtMs = new Map<string, number>();
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(
    private readonly log: Logger,
    private readonly bytesPerSecond = BYTES_PER_SECOND,
  ) {}

  /** Starts on the next journal that is due; never waits for it. */
  tick(nowMs: number, recoveries: readonly CompactedRecovery[]): void {
    if (this.#running || this.#isClosed) return;
    const due = recoveries.find((recovery) => this.#isDue(recovery, nowMs));
    if (!due) return;
    this.#lookedAtMs.set(due.key, nowMs);
    this.#running = this.#compact(due).finally(() => {
      this.#running = undefined;
    });
  }

  #isDue({ key, spec, needsReopening }: CompactedRecovery, nowMs: number): boolean {
    if (!spec.thinning || needsReopening) return false;
    const lookedAtMs = this.#lookedAtMs.get(key) ?? -Infinity;
    return nowMs - lookedAtMs >= Math.min(LOOK_MS_MAX, spec.thinning.keepAllMs);
  }

  async #compact(recovery: CompactedRecovery): Promise<void> {
    const { key } = recovery;
    try {
      const { thinnedSeq } = recovery;
      if (thinnedSeq === 0) return;
      const { freedBytes, readBytes, rewrittenSegments } = await recovery.journal.compact({
        beforeSeq: thinnedSeq,
        allow: (bytes, shouldStop) => pause((1000 * bytes) / this.bytesPerSecond, shouldStop),
        shouldStop: () => this.#isClosed,
        pause: (ms) => pause(ms, () => this.#isClosed),
      });
      if (rewrittenSegments > 0) this.log.info({ protection: key, freedMiB: Math.round(freedBytes / MiB), readMiB: Math.round(readBytes / MiB), rewrittenSegments }, 'space of thinned checkpoints was given back');
    } catch (error) {
      if (!this.#isClosed) this.log.warn({ protection: key, error: String(error) }, 'space of thinned checkpoints could not be given back; it is tried again');
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
  }
}

async function pause(ms: number, shouldStop: () => boolean): Promise<void> {
  for (let left = ms; left > 0 && !shouldStop(); left -= PAUSE_MS_MAX) await new Promise((resolve) => setTimeout(resolve, Math.min(left, PAUSE_MS_MAX)));
}
