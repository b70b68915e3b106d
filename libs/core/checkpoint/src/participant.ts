import type { CheckpointMarker } from '@tidemark/frame';
import { HoldTimes } from './hold-times.js';
import type { BarrierEffect } from './types.js';

/** Released and not yet confirmed checkpoints that are remembered; older ones are never sealed. */
const SEAL_WAITS_MAX = 16;

/** Where a VRA tells the leader of a checkpoint how it went; the leader may be itself. */
export interface Answers {
  marked(checkpointId: number, leaderVraId: string): void;
  unmarked(checkpointId: number, leaderVraId: string, reason: string): void;
  outcome(checkpointId: number, leaderVraId: string, result: { isSealed: boolean; reason: string }): void;
}

export interface Mark {
  readonly marker: CheckpointMarker;
  readonly leaderVraId: string;
  readonly ownVmIds: readonly string[];
  /** False with one protecting VRA: all markers are put in one turn, so there is nothing to hold. */
  readonly isHeld: boolean;
}

interface Led {
  readonly checkpointId: number;
  readonly leaderVraId: string;
}

interface Refusal {
  readonly checkpointId: number;
  readonly reason: string;
}

interface OpenMark extends Mark {
  readonly heldSinceMs: number;
  readonly deadlineMs: number;
  isMarked: boolean;
}

interface SealWait extends Mark {
  isReleased: boolean;
  isConfirmed: boolean;
  isPlacing: boolean;
}

const idOf = (mark: Mark): number => mark.marker.checkpointId;

/**
 * One VRA's part in each checkpoint: hold, marker, `marked`, then release and seal, or neither.
 * Invariant: a seal is put only if completions were held from the marker until the leader's release arrived.
 */
export class Participant {
  #open: OpenMark | undefined;
  readonly #waits = new Map<number, SealWait>();
  readonly holdTimes = new HoldTimes();
  sealedCount = 0;
  voidCount = 0;
  lastVoidReason: string | null = null;

  constructor(
    private readonly holdBoundMs: number,
    private readonly answers: Answers,
  ) {}

  get deadlineMs(): number {
    return this.#open?.deadlineMs ?? Infinity;
  }

  get isHolding(): boolean {
    return this.#open?.isHeld ?? false;
  }

  mark(mark: Mark, nowMs: number, effects: BarrierEffect[]): void {
    const previous = this.#open;
    if (previous !== undefined) this.#void(previous, 'a newer checkpoint came', nowMs);
    // One hold per VPG: what the guest already waits for must not wait longer because a leader was replaced.
    const isHoldKept = previous?.isHeld === true && mark.isHeld;
    this.#open = {
      ...mark,
      heldSinceMs: isHoldKept ? previous.heldSinceMs : nowMs,
      deadlineMs: isHoldKept ? previous.deadlineMs : nowMs + this.holdBoundMs,
      isMarked: false,
    };
    if (mark.isHeld && !isHoldKept) effects.push({ type: 'hold' });
    effects.push({ type: 'placeMarkers', marker: mark.marker, vmIds: mark.ownVmIds });
  }

  markersPlaced(checkpointId: number, effects: BarrierEffect[]): void {
    const open = this.#open;
    if (open === undefined || idOf(open) !== checkpointId || open.isMarked) return;
    open.isMarked = true;
    this.#addWait(open);
    this.answers.marked(checkpointId, open.leaderVraId);
    effects.push({ type: 'confirmCapture', checkpointId, vmIds: open.ownVmIds });
  }

  markersRefused({ checkpointId, reason }: Refusal, nowMs: number, effects: BarrierEffect[]): void {
    const open = this.#open;
    if (open === undefined || idOf(open) !== checkpointId) return;
    this.#void(open, reason, nowMs);
    this.#release(open, effects);
    this.answers.unmarked(checkpointId, open.leaderVraId, reason);
  }

  captureConfirmed({ checkpointId, isConfirmed, reason }: Refusal & { isConfirmed: boolean }, nowMs: number, effects: BarrierEffect[]): void {
    const wait = this.#waits.get(checkpointId);
    if (wait === undefined || wait.isPlacing) return;
    if (!isConfirmed) {
      this.voided({ checkpointId, leaderVraId: wait.leaderVraId, reason }, nowMs, effects);
      this.#waits.delete(checkpointId);
      this.answers.outcome(checkpointId, wait.leaderVraId, { isSealed: false, reason });
      return;
    }
    wait.isConfirmed = true;
    if (wait.isReleased) this.#placeSeals(wait, effects);
  }

  /** The leader knows that every marker stands. Counts only while this VRA still holds for that very checkpoint. */
  release({ checkpointId, leaderVraId }: Led, nowMs: number, effects: BarrierEffect[]): void {
    const open = this.#open;
    if (open === undefined || idOf(open) !== checkpointId || open.leaderVraId !== leaderVraId || !open.isMarked) return;
    this.#open = undefined;
    if (open.isHeld) this.holdTimes.add(nowMs - open.heldSinceMs);
    const wait = this.#waits.get(checkpointId);
    if (wait !== undefined) {
      wait.isReleased = true;
      if (wait.isConfirmed) this.#placeSeals(wait, effects);
    }
    this.#release(open, effects);
  }

  sealsPlaced(checkpointId: number, isPlaced: boolean): void {
    const wait = this.#waits.get(checkpointId);
    if (wait === undefined || !wait.isPlacing) return;
    this.#waits.delete(checkpointId);
    if (isPlaced) {
      this.sealedCount += 1;
      this.lastVoidReason = null;
    }
    this.answers.outcome(checkpointId, wait.leaderVraId, { isSealed: isPlaced, reason: isPlaced ? '' : 'a stream broke after its marker' });
  }

  /** The leader gave this checkpoint up. */
  voided({ checkpointId, leaderVraId, reason }: Led & Refusal, nowMs: number, effects: BarrierEffect[]): void {
    const open = this.#open;
    if (open === undefined || idOf(open) !== checkpointId || open.leaderVraId !== leaderVraId) return;
    this.#void(open, reason, nowMs);
    this.#release(open, effects);
  }

  /** Ends an open hold, whoever leads it: bound reached, leader lost, newer term, newer configuration. */
  abandon(reason: string, nowMs: number, effects: BarrierEffect[]): void {
    const open = this.#open;
    if (open === undefined) return;
    this.#void(open, reason, nowMs);
    this.#release(open, effects);
    this.answers.outcome(idOf(open), open.leaderVraId, { isSealed: false, reason });
  }

  leaderLost(leaderVraId: string, nowMs: number, effects: BarrierEffect[]): void {
    if (this.#open?.leaderVraId === leaderVraId) this.abandon('the leader is out of reach', nowMs, effects);
  }

  expire(nowMs: number, effects: BarrierEffect[]): void {
    if (nowMs >= this.deadlineMs) this.abandon(`not all VRAs marked within ${this.holdBoundMs} ms`, nowMs, effects);
  }

  /** A new epoch or set of VMs: nothing of the old one is sealed any more. */
  reset(reason: string, nowMs: number, effects: BarrierEffect[]): void {
    this.abandon(reason, nowMs, effects);
    this.#waits.clear();
  }

  #addWait(open: OpenMark): void {
    this.#waits.set(idOf(open), { ...open, isReleased: false, isConfirmed: false, isPlacing: false });
    if (this.#waits.size <= SEAL_WAITS_MAX) return;
    const oldest = this.#waits.values().next().value;
    if (oldest === undefined) return;
    this.#waits.delete(idOf(oldest));
    this.answers.outcome(idOf(oldest), oldest.leaderVraId, { isSealed: false, reason: 'the host did not confirm the capture' });
  }

  #placeSeals(wait: SealWait, effects: BarrierEffect[]): void {
    wait.isPlacing = true;
    const { vpgId, checkpointId, term } = wait.marker;
    effects.push({ type: 'placeSeals', seal: { vpgId, checkpointId, term }, vmIds: wait.ownVmIds });
  }

  /** From here on this checkpoint cannot be sealed by this VRA. The caller says what happens to the hold. */
  #void(open: OpenMark, reason: string, nowMs: number): void {
    this.#open = undefined;
    this.#waits.delete(idOf(open));
    this.voidCount += 1;
    this.lastVoidReason = reason;
    if (open.isHeld) this.holdTimes.add(nowMs - open.heldSinceMs);
  }

  #release(mark: Mark, effects: BarrierEffect[]): void {
    if (mark.isHeld) effects.push({ type: 'release' });
  }
}
