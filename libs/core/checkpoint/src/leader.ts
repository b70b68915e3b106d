import type { BarrierEffect, CheckpointKind } from './types.js';

/** Requests that wait for the open checkpoint to end; more are refused at once. */
const REQUESTS_MAX = 64;

export interface CheckpointRequest {
  /** null: the interval made it, nobody waits for an answer. */
  readonly requestId: number | null;
  readonly tag: string | null;
  readonly kind: CheckpointKind;
}

/** One checkpoint as its leader sees it. */
export interface Round extends CheckpointRequest {
  readonly checkpointId: number;
  /** Leader's clocks at the decision, before any marker stands or any `mark` is sent. */
  readonly atMs: number;
  readonly decidedAtMs: number;
  /** VRAs whose `marked` is missing; then, once released, whose outcome is missing. */
  readonly waiting: Set<string>;
}

export interface Outcome {
  readonly checkpointId: number;
  readonly vraId: string;
  readonly isSealed: boolean;
  readonly reason: string;
}

interface Sealing extends Round {
  readonly deadlineMs: number;
}

/** The leader's books: the open round, requests behind it, and released rounds whose seals are not all reported. */
export class Rounds {
  #open: Round | undefined;
  readonly #requests: CheckpointRequest[] = [];
  readonly #sealing = new Map<number, Sealing>();
  sealedCount = 0;
  voidCount = 0;
  /** Of the newest checkpoint that has ended; null: it was sealed. */
  lastVoidReason: string | null = null;

  constructor(private readonly outcomeTimeoutMs: number) {}

  get open(): Round | undefined {
    return this.#open;
  }

  get deadlineMs(): number {
    let earliest = Infinity;
    for (const sealing of this.#sealing.values()) earliest = Math.min(earliest, sealing.deadlineMs);
    return earliest;
  }

  nextRequest(): CheckpointRequest | undefined {
    return this.#requests.shift();
  }

  get hasRequests(): boolean {
    return this.#requests.length > 0;
  }

  request(request: CheckpointRequest, effects: BarrierEffect[]): void {
    if (this.#requests.length < REQUESTS_MAX) this.#requests.push(request);
    else this.#answerVoid(request, 'too many checkpoint requests wait', effects);
  }

  begin(round: Round): void {
    this.#open = round;
  }

  /** True when this was the last one missing: every marker stands. */
  marked(checkpointId: number, vraId: string): boolean {
    if (this.#open?.checkpointId !== checkpointId) return false;
    return this.#open.waiting.delete(vraId) && this.#open.waiting.size === 0;
  }

  released(vraIds: readonly string[], nowMs: number): void {
    const round = this.#open;
    if (round === undefined) return;
    this.#open = undefined;
    this.#sealing.set(round.checkpointId, { ...round, waiting: new Set(vraIds), deadlineMs: nowMs + this.outcomeTimeoutMs });
  }

  /** Ends the open round and returns it; undefined if there is none. */
  voidOpen(reason: string, effects: BarrierEffect[]): Round | undefined {
    const round = this.#open;
    if (round === undefined) return undefined;
    this.#open = undefined;
    this.#countVoid(reason);
    this.#answerVoid(round, reason, effects);
    return round;
  }

  outcome({ checkpointId, vraId, isSealed, reason }: Outcome, effects: BarrierEffect[]): void {
    const sealing = this.#sealing.get(checkpointId);
    if (sealing === undefined) return;
    if (!isSealed) this.#endSealing(sealing, `${vraId}: ${reason}`, effects);
    else if (sealing.waiting.delete(vraId) && sealing.waiting.size === 0) this.#endSealing(sealing, null, effects);
  }

  expire(nowMs: number, effects: BarrierEffect[]): void {
    for (const sealing of this.#sealing.values()) {
      if (nowMs >= sealing.deadlineMs) this.#endSealing(sealing, `no answer of ${[...sealing.waiting].join(', ')}`, effects);
    }
  }

  /** Requests that cannot be begun now. */
  refuseRequests(reason: string, effects: BarrierEffect[]): void {
    for (let request = this.nextRequest(); request !== undefined; request = this.nextRequest()) this.#answerVoid(request, reason, effects);
  }

  /** This VRA does not lead any more. */
  clear(reason: string, effects: BarrierEffect[]): void {
    this.refuseRequests(reason, effects);
    for (const sealing of this.#sealing.values()) this.#endSealing(sealing, reason, effects);
  }

  countSkipped(reason: string): void {
    this.#countVoid(reason);
  }

  #endSealing(sealing: Sealing, voidReason: string | null, effects: BarrierEffect[]): void {
    this.#sealing.delete(sealing.checkpointId);
    if (voidReason !== null) {
      this.#countVoid(voidReason);
      this.#answerVoid(sealing, voidReason, effects);
      return;
    }
    this.sealedCount += 1;
    this.lastVoidReason = null;
    if (sealing.requestId !== null) effects.push({ type: 'sealed', requestId: sealing.requestId, checkpointId: sealing.checkpointId });
  }

  #countVoid(reason: string): void {
    this.voidCount += 1;
    this.lastVoidReason = reason;
  }

  #answerVoid(request: CheckpointRequest, reason: string, effects: BarrierEffect[]): void {
    if (request.requestId !== null) effects.push({ type: 'voided', requestId: request.requestId, reason });
  }
}
