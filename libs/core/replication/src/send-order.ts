import { assert } from '@tidemark/base';

export type SendPriority = 'low' | 'medium' | 'high';

/** Shares of a full link when all three classes want to send: each gets three times that of the one below, and the lowest still its part. */
export const PRIORITY_WEIGHTS: Record<SendPriority, number> = { high: 9, medium: 3, low: 1 };
const PRIORITIES: readonly SendPriority[] = ['high', 'medium', 'low'];

interface SendClass<T> {
  readonly priority: SendPriority;
  /** In turn order: whoever sent goes to the back. */
  readonly ready: Set<T>;
  /** Bytes sent by weight: the class with the smallest is next. */
  virtualBytes: number;
}

/**
 * Who sends the next frame: weighted fair queueing over three classes of priority, turns within a class. A class that had nothing to send begins
 * again where the others are: it saves up nothing, and is next, so a small write of a high-priority VPG waits for one frame at most.
 */
export class SendOrder<T> {
  readonly #classes: readonly SendClass<T>[] = PRIORITIES.map((priority) => ({ priority, ready: new Set<T>(), virtualBytes: 0 }));
  /** Virtual time at which the last frame was sent: moved by {@link sent} only, or looking at a class would take from the others what they are owed. */
  #servedBytes = 0;

  get isEmpty(): boolean {
    return this.#classes.every(({ ready }) => ready.size === 0);
  }

  /** `item` may have something to send. Once it is in, nothing changes by saying so again, but for another priority. */
  add(item: T, priority: SendPriority): void {
    const entry = this.#classOf(priority);
    if (entry.ready.has(item)) return;
    this.remove(item);
    if (entry.ready.size === 0) entry.virtualBytes = Math.max(entry.virtualBytes, this.#servedBytes);
    entry.ready.add(item);
  }

  remove(item: T): void {
    for (const { ready } of this.#classes) ready.delete(item);
  }

  /** Whose turn it is; it stays in. */
  next(): T | undefined {
    let best: SendClass<T> | undefined;
    for (const entry of this.#classes) {
      if (entry.ready.size > 0 && (best === undefined || entry.virtualBytes < best.virtualBytes)) best = entry;
    }
    if (best === undefined) return undefined;
    const [item] = best.ready;
    return item;
  }

  /** `item` sent so much (negative: so much less than said before): its class pays, and it goes behind the others of it. */
  sent(item: T, priority: SendPriority, bytes: number): void {
    const entry = this.#classOf(priority);
    if (bytes > 0) this.#servedBytes = Math.max(this.#servedBytes, entry.virtualBytes);
    entry.virtualBytes += bytes / PRIORITY_WEIGHTS[priority];
    if (bytes > 0 && entry.ready.delete(item)) entry.ready.add(item);
  }

  #classOf(priority: SendPriority): SendClass<T> {
    const entry = this.#classes.find((each) => each.priority === priority);
    assert(entry !== undefined, 'class of the priority');
    return entry;
  }
}
