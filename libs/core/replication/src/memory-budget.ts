import { assert } from '@tidemark/base';

/** One protection's part of the budget. */
export interface BudgetShare {
  /** Takes `bytes` from the budget, or takes nothing and returns false. */
  tryReserve(bytes: number): boolean;
  /** Takes them whatever is free: they are in memory already. */
  reserve(bytes: number): void;
  release(bytes: number): void;
  readonly usedBytes: number;
  /** What nobody can keep from it. Changes with the number of shares. */
  readonly guaranteedBytes: number;
  /** Gives everything back; the share is not used again. */
  close(): void;
}

export interface ShareOptions {
  /** The protection may never hold more, whatever is free. */
  readonly capBytes?: number;
  /** Part in the guarantees, beside that of the others. 1 if not given. */
  readonly weight?: number;
  /**
   * Another share needs its guarantee and this one holds the most beyond its own: it must release everything that can be had again from elsewhere, before it
   * returns. Called in the middle of the other's {@link BudgetShare.tryReserve}; without it, the share keeps what it has.
   */
  readonly giveWay?: () => void;
}

/** The memory of a VRA that both of its roles fill, each up to the limit of its own {@link MemoryBudget}. */
export class MemoryPool {
  usedBytes = 0;

  constructor(readonly limitBytes: number) {}
}

/**
 * The hard limit of one role of a VRA. Protecting: captured writes that are not durable remotely. Recovering: credit that is given out, and what has come and is not
 * durable. Half of it is split into guarantees by weight, one per protection, so that a protection whose link is dead can never starve another; the other half goes to
 * whoever asks first.
 */
export class MemoryBudget {
  readonly #shares = new Set<Share>();
  #usedBytes = 0;
  #weightSum = 0;
  /** Used beyond guarantees. */
  #commonBytes = 0;

  constructor(
    readonly limitBytes: number,
    private readonly pool = new MemoryPool(limitBytes),
  ) {
    assert(Number.isSafeInteger(limitBytes) && limitBytes > 0, 'limit of the memory budget');
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Shares of weight 1 that can each be sure of so many bytes, and how many there are by weight now. */
  sharesOf(bytes: number): { readonly most: number; readonly taken: number } {
    return { most: Math.floor(this.limitBytes / 2 / bytes), taken: this.#weightSum };
  }

  share(options: ShareOptions = {}): BudgetShare {
    const share = new Share(this, options.capBytes ?? Infinity, options.weight ?? 1, options.giveWay);
    this.#shares.add(share);
    this.#recount();
    return share;
  }

  /** Called by shares. */
  tryTake(share: Share, bytes: number): boolean {
    if (share.usedBytes + bytes > share.capBytes) return false;
    if (!this.#hasRoom(share, bytes) && !this.#makeRoom(share, bytes)) return false;
    this.take(share, bytes);
    return true;
  }

  /** Called by shares. */
  take(share: Share, bytes: number): void {
    this.#usedBytes += bytes;
    this.pool.usedBytes += bytes;
    this.#commonBytes += this.#commonOf(share, share.usedBytes + bytes) - this.#commonOf(share, share.usedBytes);
  }

  /** Called by shares. */
  give(share: Share, bytes: number): void {
    this.#usedBytes -= bytes;
    this.pool.usedBytes -= bytes;
    this.#commonBytes -= this.#commonOf(share, share.usedBytes) - this.#commonOf(share, share.usedBytes - bytes);
  }

  /** Called by shares. */
  forget(share: Share): void {
    this.#shares.delete(share);
    this.#recount();
  }

  #hasRoom(share: Share, bytes: number): boolean {
    if (this.#usedBytes + bytes > this.limitBytes || this.pool.usedBytes + bytes > this.pool.limitBytes) return false;
    const common = this.#commonOf(share, share.usedBytes + bytes) - this.#commonOf(share, share.usedBytes);
    return common === 0 || this.#commonBytes + common <= this.limitBytes / 2;
  }

  /** For a share within its guarantee, those beyond theirs give way, the one with the most first. */
  #makeRoom(share: Share, bytes: number): boolean {
    if (share.usedBytes + bytes > this.guaranteedBytes(share)) return false;
    const others = [...this.#shares].filter((other) => other.giveWay && other !== share && this.#commonOf(other, other.usedBytes) > 0);
    others.sort((a, b) => this.#commonOf(b, b.usedBytes) - this.#commonOf(a, a.usedBytes));
    for (const other of others) {
      other.giveWay?.();
      if (this.#hasRoom(share, bytes)) return true;
    }
    return false;
  }

  /** Called by shares. */
  guaranteedBytes({ weight }: Share): number {
    return Math.floor((this.limitBytes / 2) * (weight / Math.max(weight, this.#weightSum)));
  }

  #commonOf(share: Share, usedBytes: number): number {
    return Math.max(0, usedBytes - this.guaranteedBytes(share));
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
    readonly giveWay: (() => void) | undefined,
  ) {}

  get guaranteedBytes(): number {
    return this.budget.guaranteedBytes(this);
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  tryReserve(bytes: number): boolean {
    if (!this.budget.tryTake(this, bytes)) return false;
    this.#usedBytes += bytes;
    return true;
  }

  reserve(bytes: number): void {
    this.budget.take(this, bytes);
    this.#usedBytes += bytes;
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
