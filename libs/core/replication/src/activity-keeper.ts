import { unreachable } from '@tidemark/base';
import type { CaptureFence } from '@tidemark/splitter';
import type { ActivityLog } from './activity-log.js';

/** Everything captured up to `seq` is in the queue, acknowledged, or will be; void once the queue is dropped. */
export interface StreamPosition {
  readonly seq: number;
  readonly dropCount: number;
}

/** What the keeper needs of a {@link Sender}. */
export interface StreamPositions {
  /** Undefined while anything that was captured may be elsewhere than in the queue: a sync runs, or is needed. */
  position(): StreamPosition | undefined;
  isDurable(position: StreamPosition): boolean;
  isLost(position: StreamPosition): boolean;
}

export type ActivityEffect =
  /** Make everything durable that was written to these volumes; then call `flushed`. */
  | { readonly kind: 'flush'; readonly volumes: readonly number[] }
  /** The marks are whole from now on: write all of them, durably, then call `marksWritten`. */
  | { readonly kind: 'writeMarks' }
  /** From now on a crash needs only the marked extents: make the marks durable once more, then say so durably; then call `trusted`. */
  | { readonly kind: 'trust' };

type Phase =
  | { readonly kind: 'idle'; readonly sinceMs: number }
  | { readonly kind: 'writingMarks' }
  /** Waits until every write that was submitted before is captured. */
  | { readonly kind: 'fencing'; readonly fence: number; readonly volumes: readonly number[] }
  | { readonly kind: 'flushing'; readonly position: StreamPosition }
  | { readonly kind: 'acking'; readonly position: StreamPosition }
  | { readonly kind: 'trusting' };

/** A mark lives at least this long after the last write to its extent: what is written again and again then waits for its mark once. */
export const ACTIVITY_PERIOD_MS = 15_000;

/**
 * Clears marks, lazily, in rounds. A round takes extents that were not written for a period, waits until every write submitted before is
 * captured, flushes the protected volumes, and waits until the recovery site is durable up to what was captured before the flush. What was
 * written meanwhile stays marked. The first round of a log whose marks do not cover everything yet ends with the word that now they do.
 */
export class ActivityKeeper {
  #phase: Phase = { kind: 'idle', sinceMs: 0 };

  constructor(
    private readonly log: ActivityLog,
    private readonly options: { readonly periodMs: number; isTrusted: boolean; readonly volumeCount: number },
  ) {}

  get isTrusted(): boolean {
    return this.options.isTrusted;
  }

  /** The marks say nothing any more: everything may differ. */
  distrust(): void {
    this.options.isTrusted = false;
    this.log.isGating = false;
    this.#abandon(0);
  }

  /** Now and then. */
  step(nowMs: number, around: { readonly fence: CaptureFence; readonly stream: StreamPositions }, effects: ActivityEffect[]): void {
    const phase = this.#phase;
    switch (phase.kind) {
      case 'idle':
        return this.#beginIfDue(phase.sinceMs, nowMs, around, effects);
      case 'fencing':
        if (!around.fence.isPast(phase.fence)) return;
        return this.#flush(nowMs, phase.volumes, around.stream, effects);
      case 'acking':
        if (around.stream.isLost(phase.position)) return this.#abandon(nowMs);
        if (around.stream.isDurable(phase.position)) this.#end(nowMs, phase.position, effects);
        return;
      case 'writingMarks':
      case 'flushing':
      case 'trusting':
        return;
      default:
        unreachable(phase);
    }
  }

  marksWritten(around: { readonly fence: CaptureFence }): void {
    if (this.#phase.kind !== 'writingMarks') return;
    this.#phase = { kind: 'fencing', fence: around.fence.fence(), volumes: Array.from({ length: this.options.volumeCount }, (_, volume) => volume) };
  }

  flushed(nowMs: number, isOk: boolean): void {
    if (this.#phase.kind !== 'flushing') return;
    if (isOk) this.#phase = { kind: 'acking', position: this.#phase.position };
    else this.#abandon(nowMs);
  }

  trusted(nowMs: number): void {
    if (this.#phase.kind !== 'trusting') return;
    this.options.isTrusted = true;
    this.#phase = { kind: 'idle', sinceMs: nowMs };
  }

  #beginIfDue(sinceMs: number, nowMs: number, around: { readonly fence: CaptureFence; readonly stream: StreamPositions }, effects: ActivityEffect[]): void {
    if (around.stream.position() === undefined) return;
    if (!this.options.isTrusted) {
      // From here on every write waits for its mark; those that did not wait are marked in memory, and written now.
      this.log.isGating = true;
      this.#phase = { kind: 'writingMarks' };
      effects.push({ kind: 'writeMarks' });
      return;
    }
    if (nowMs - sinceMs < this.options.periodMs) return;
    const volumes = this.log.beginRound();
    this.#phase = volumes.length === 0 ? { kind: 'idle', sinceMs: nowMs } : { kind: 'fencing', fence: around.fence.fence(), volumes };
  }

  #flush(nowMs: number, volumes: readonly number[], stream: StreamPositions, effects: ActivityEffect[]): void {
    const position = stream.position();
    if (position === undefined) return this.#abandon(nowMs);
    this.#phase = { kind: 'flushing', position };
    effects.push({ kind: 'flush', volumes });
  }

  #end(nowMs: number, position: StreamPosition, effects: ActivityEffect[]): void {
    if (!this.options.isTrusted) {
      this.#phase = { kind: 'trusting' };
      effects.push({ kind: 'trust' });
      return;
    }
    this.log.endRound(position.seq);
    this.#phase = { kind: 'idle', sinceMs: nowMs };
  }

  #abandon(nowMs: number): void {
    this.log.abandonRound();
    if (!this.options.isTrusted) this.log.isGating = false;
    this.#phase = { kind: 'idle', sinceMs: nowMs };
  }
}
