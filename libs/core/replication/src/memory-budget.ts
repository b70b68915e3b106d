import { assert } from '@tidemark/base';

/** One protection's part of the budget. */
export interface BudgetShare {
  /** Takes `bytes` from the budget, or takes nothing and returns false. */
  tryReserve(bytes: number): boolean;
  release(bytes: number): void;
  readonly usedBytes: number;
  /** Gives everything back; the share is not used again. */
  close(): void;
}

export interface ShareOptions {
  /** The protection may never hold more, whatever is free. */
  readonly capBytes?: number;
  /** Part in the guarantees, beside that of the others. 1 if not given. */
  readonly weight?: number;
}

/**
 * The hard limit of a VRA for captured writes that are not durable remotely. Half of it is split into guarantees by weight, one per
 * protection, so that a protection whose link is dead can never starve another; the other half goes to whoever asks first.
 */
export class MemoryBudget {
  readonly #shares = new Set<Share>();
  #usedBytes = 0;
  #weightSum = 0;
  /** Used beyond guarantees. */
  #commonBytes = 0;

  constructor(readonly limitBytes: number) {
    assert(Number.isSafeInteger(limitBytes) && limitBytes > 0, 'limit of the memory budget');
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  share(options: ShareOptions = {}): BudgetShare {
    const share = new Share(this, options.capBytes ?? Infinity, options.weight ?? 1);
    this.#shares.add(share);
    this.#recount();
    return share;
  }

  /** Called by shares. */
  tryTake(share: Share, bytes: number): boolean {
    const usedAfter = share.usedBytes + bytes;
    if (this.#usedBytes + bytes > this.limitBytes || usedAfter > share.capBytes) return false;
    const common = this.#commonOf(share, usedAfter) - this.#commonOf(share, share.usedBytes);
    if (common > 0 && this.#commonBytes + common > this.limitBytes / 2) return false;
    this.#usedBytes += bytes;
    this.#commonBytes += common;
    return true;
  }

  /** Called by shares. */
  give(share: Share, bytes: number): void {
    this.#usedBytes -= bytes;
    this.#commonBytes -= this.#commonOf(share, share.usedBytes) - this.#commonOf(share, share.usedBytes - bytes);
  }

  /** Called by shares. */
  forget(share: Share): void {
    this.#shares.delete(share);
    this.#recount();
  }

  #guaranteedBytes({ weight }: Share): number {
    return Math.floor((this.limitBytes / 2) * (weight / Math.max(weight, this.#weightSum)));
  }

  #commonOf(share: Share, usedBytes: number): number {
    return Math.max(0, usedBytes - this.#guaranteedBytes(share));
  }

  /** Guarantees change with the number of shares. What is used stays; a share beyond its new guarantee gets nothing more for a while. */
  #recount(): void {
    this.#weightSum = 0;
    for (const { weight } of this.#shares) this.#weightSum += weight;
    this.#commonBytes = 0;
    for (const share of this.#shares) this.#commonBytes += this.#commonOf(share, share.usedBytes);
  }
}

class Share implements BudgetShare {
  #usedBytes = 0;

  constructor(
    private readonly budget: MemoryBudget,
    readonly capBytes: number,
    readonly weight: number,
  ) {}

  get usedBytes(): number {
    return this.#usedBytes;
  }

  tryReserve(bytes: number): boolean {
    if (!this.budget.tryTake(this, bytes)) return false;
    this.#usedBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    assert(bytes <= this.#usedBytes, 'release of bytes that were reserved');
    this.budget.give(this, bytes);
    this.#usedBytes -= bytes;
  }

  close(): void {
    this.release(this.#usedBytes);
    this.budget.forget(this);
  }
}
