import { MiB } from '@tidemark/base';
import type { RecoveryHost } from './recovery-host.js';
import { StateFile } from './state-file.js';
import type { Logger } from './types.js';

/** Read back per second over all journals of a VRA: a tenth of what a slow disk gives, 2.7 TiB a day. */
const BYTES_PER_SECOND = 32 * MiB;
/** A journal is read through at most once in this time. */
const PASS_MS_MIN = 24 * 3_600_000;

/** What reading a journal back in the background has shown. */
export interface ScrubStatus {
  /** Wall clock of the end of the last whole pass; null: none has ended yet. */
  readonly completedAtMs: number | null;
  /** The newest damage; empty: none was found since the last whole pass began. */
  readonly detail: string;
  /** Checkpoints that were given up because of it. */
  readonly affectedIds: readonly number[];
}

interface Progress extends ScrubStatus {
  /** Segments up to this one are done in the pass under way. */
  readonly throughSegment: number;
}

const FRESH: Progress = { completedAtMs: null, detail: '', affectedIds: [], throughSegment: 0 };
const AFFECTED_MAX = 1000;

/**
 * Reads sealed segments back at a low rate, one at a time over all journals of the VRA, and checks header, chain and checksums. Damage makes the
 * journal be opened anew, which ends it before the damage (docs/spec/journal.md, Generations). Progress survives a restart.
 */
export class Scrubber {
  readonly #file: StateFile<Record<string, Progress>>;
  readonly #progress = new Map<string, Progress>();
  #allowanceBytes = 0;
  #tickedMs: number | undefined;
  #running: Promise<void> | undefined;

  constructor(
    stateFolder: string,
    private readonly log: Logger,
  ) {
    this.#file = new StateFile(`${stateFolder}/scrub.json`, 'every journal is read through anew');
  }

  async load(): Promise<void> {
    for (const [key, progress] of Object.entries(await this.#found())) this.#progress.set(key, progress);
  }

  /** Nothing depends on it but what is read next: damage must not keep a host's guests from their disks. */
  async #found(): Promise<Record<string, Progress>> {
    try {
      return (await this.#file.load()) ?? {};
    } catch (error) {
      this.log.error({ error: String(error) }, 'progress of the scrub cannot be read: it begins anew, and what it had found is forgotten');
      return {};
    }
  }

  statusOf(key: string): ScrubStatus {
    const { completedAtMs, detail, affectedIds } = this.#progress.get(key) ?? FRESH;
    return { completedAtMs, detail, affectedIds };
  }

  /** Starts the next reading if the rate allows one; never waits for it. */
  tick(nowMs: number, wallMs: number, recoveries: readonly RecoveryHost[]): void {
    const elapsedMs = nowMs - (this.#tickedMs ?? nowMs);
    this.#tickedMs = nowMs;
    this.#allowanceBytes = Math.min(BYTES_PER_SECOND, this.#allowanceBytes + (BYTES_PER_SECOND * elapsedMs) / 1000);
    if (this.#running || this.#allowanceBytes <= 0) return;
    const next = this.#next(wallMs, recoveries);
    if (!next) return;
    this.#allowanceBytes -= next.bytes;
    this.#running = this.#read(next.recovery, next.segment).finally(() => {
      this.#running = undefined;
    });
  }

  /** The journal whose last pass is the longest ago goes first. */
  #next(wallMs: number, recoveries: readonly RecoveryHost[]): { readonly recovery: RecoveryHost; readonly segment: number; readonly bytes: number } | undefined {
    const doneAtMs = ({ key }: RecoveryHost): number => this.#progress.get(key)?.completedAtMs ?? 0;
    for (const recovery of [...recoveries].sort((a, b) => doneAtMs(a) - doneAtMs(b))) {
      const progress = this.#progress.get(recovery.key) ?? FRESH;
      if (recovery.needsReopening || (progress.throughSegment === 0 && wallMs - (progress.completedAtMs ?? 0) < PASS_MS_MIN)) continue;
      const found = recovery.journal.segments.slice(0, -1).find(({ segment }) => segment > progress.throughSegment);
      if (found) return { recovery, ...found };
      if (progress.throughSegment > 0) this.#save(recovery.key, { ...progress, throughSegment: 0, completedAtMs: wallMs });
    }
    return undefined;
  }

  async #read(recovery: RecoveryHost, segment: number): Promise<void> {
    const check = await recovery.journal.verifySegment(segment);
    const progress = this.#progress.get(recovery.key) ?? FRESH;
    const isNewPass = progress.throughSegment === 0;
    const clean = isNewPass ? { ...progress, detail: '', affectedIds: [] } : progress;
    if (check?.isWhole !== false) return this.#save(recovery.key, { ...clean, throughSegment: segment });
    const affectedIds = recovery.journal.checkpoints().filter(({ markerSeq }) => markerSeq > check.lastSeq).map(({ checkpointId }) => checkpointId);
    this.log.error({ protection: recovery.key, detail: check.detail, affected: affectedIds.length }, 'DAMAGE in a journal: its later checkpoints are lost, everything is copied again');
    this.#save(recovery.key, { ...clean, throughSegment: segment, detail: check.detail, affectedIds: affectedIds.slice(0, AFFECTED_MAX) });
    recovery.journal.distrust(check);
  }

  #save(key: string, progress: Progress): void {
    this.#progress.set(key, progress);
    void this.#file.save(Object.fromEntries(this.#progress)).catch((error: unknown) => {
      this.log.warn({ error: String(error) }, 'progress of the scrub cannot be saved: it begins again after a restart');
    });
  }

  forget(key: string): void {
    this.#progress.delete(key);
  }

  async close(): Promise<void> {
    await this.#running;
  }
}
