import { assert } from '@tidemark/base';
import type { Request } from './request.js';

const SLOTS_MIN = 64;

/**
 * The requests of one volume that are not completed, with their ranges in flat arrays. As many as the guest's queue is deep, so that a scan
 * is cheaper than a tree: a write took 2.9 µs at depth 256 with the ranges inside the request objects, with flat arrays it takes 1.3.
 */
export class ActiveRequests {
  #requests: Request[] = [];
  #starts = new Float64Array(SLOTS_MIN);
  #ends = new Float64Array(SLOTS_MIN);

  /** Adds the request and lets it wait for every earlier one that it must not pass. */
  add(request: Request, start: number, end: number): void {
    const count = this.#requests.length;
    const starts = this.#starts;
    const ends = this.#ends;
    for (let slot = 0; slot < count; slot += 1) {
      if ((starts[slot] ?? 0) < end && start < (ends[slot] ?? 0)) waitIfNeeded(request, this.#requests[slot]);
    }
    if (count === starts.length) this.#grow();
    request.slot = count;
    this.#requests.push(request);
    this.#starts[count] = start;
    this.#ends[count] = end;
  }

  remove(request: Request): void {
    const { slot } = request;
    assert(this.#requests[slot] === request, 'request of its volume');
    // The order of slots does not matter: blockers were counted at submission.
    const last = this.#requests.pop();
    if (last === undefined || last === request) return;
    this.#requests[slot] = last;
    this.#starts[slot] = this.#starts[last.slot] ?? 0;
    this.#ends[slot] = this.#ends[last.slot] ?? 0;
    last.slot = slot;
  }

  #grow(): void {
    const starts = new Float64Array(this.#starts.length * 2);
    starts.set(this.#starts);
    this.#starts = starts;
    const ends = new Float64Array(starts.length);
    ends.set(this.#ends);
    this.#ends = ends;
  }
}

/** Of two that overlap, a read waits for a write until the guest knows of it; a write waits for what still touches the volume, not for a held one. */
function waitIfNeeded(request: Request, earlier: Request | undefined): void {
  if (earlier === undefined) return;
  const mustWait = request.write === undefined ? earlier.write !== undefined : earlier.state !== 'held';
  if (!mustWait) return;
  request.blockerCount += 1;
  (earlier.waiters ??= []).push(request);
}
