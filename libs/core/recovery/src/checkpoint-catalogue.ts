import { OrderedIds } from './ordered-ids.js';

/** A checkpoint as one VM's journal holds it: marker and seal durable, of one incarnation. */
export interface HeldCheckpoint {
  /** Grows with every checkpoint of a VPG. */
  readonly checkpointId: number;
  readonly epoch: number;
  readonly term: number;
  /** The VMs that it was made over. */
  readonly vmIds: readonly string[];
  /** The leader's clock before it sent the mark. */
  readonly atMs: number;
  readonly tag: string | null;
  readonly kind: 'automatic' | 'tagged' | 'applicationConsistent';
}

/** News of one VM's journal, as its recovering VRA answers `checkpoint.list`. */
export interface HeldChanges<Held extends HeldCheckpoint> {
  /** True: `held` is everything. */
  readonly isWhole: boolean;
  readonly held: readonly Held[];
  readonly dropped: readonly number[];
}

export interface CatalogueChanges<Held extends HeldCheckpoint> {
  readonly added: readonly Held[];
  readonly removed: readonly number[];
}

/**
 * The checkpoints of one VPG that can be recovered: those that every VM of their own VM set holds, with the same epoch and
 * term. Fed with the news of each VM's journal; tells what became listed and what went. A checkpoint that is listed again with
 * another epoch or term is in both lists: removed first, then added.
 */
export class CheckpointCatalogue<Held extends HeldCheckpoint = HeldCheckpoint> {
  readonly #held = new Map<string, Map<number, Held>>();
  readonly #listed = new Map<number, Held>();
  /** Of the listed ones. A list of half a million gets one more every few seconds: nothing here is sorted again for that. */
  readonly #order = new OrderedIds();

  apply(vmId: string, changes: HeldChanges<Held>): CatalogueChanges<Held> {
    const before = this.#held.get(vmId) ?? new Map<number, Held>();
    const after = changes.isWhole ? new Map<number, Held>() : before;
    const touched = new Set<number>(changes.isWhole ? before.keys() : []);
    for (const checkpointId of changes.dropped) {
      after.delete(checkpointId);
      touched.add(checkpointId);
    }
    for (const checkpoint of changes.held) {
      after.set(checkpoint.checkpointId, checkpoint);
      touched.add(checkpoint.checkpointId);
    }
    this.#held.set(vmId, after);
    return this.#relist(touched);
  }

  /** What that VM's journal says of it already, if it says the same again. */
  knownOf(vmId: string, checkpoint: Held): Held | undefined {
    const known = this.#held.get(vmId)?.get(checkpoint.checkpointId);
    return known?.tag === checkpoint.tag && isSame(known, checkpoint) ? known : undefined;
  }

  /** Oldest first. */
  listed(): readonly Held[] {
    return this.#order.all().flatMap((id) => this.#listed.get(id) ?? []);
  }

  find(checkpointId: number): Held | undefined {
    return this.#listed.get(checkpointId);
  }

  get earliest(): Held | undefined {
    return this.#at(this.#order.first);
  }

  get latest(): Held | undefined {
    return this.#at(this.#order.last);
  }

  #at(checkpointId: number | undefined): Held | undefined {
    return checkpointId === undefined ? undefined : this.#listed.get(checkpointId);
  }

  #relist(touched: ReadonlySet<number>): CatalogueChanges<Held> {
    const added: Held[] = [];
    const removed: number[] = [];
    for (const checkpointId of touched) {
      const before = this.#listed.get(checkpointId);
      const after = this.#completeOne(checkpointId);
      if (before !== undefined && after !== undefined && isSame(before, after)) continue;
      if (before !== undefined) {
        this.#listed.delete(checkpointId);
        this.#order.remove(checkpointId);
        removed.push(checkpointId);
      }
      if (after !== undefined) {
        this.#listed.set(checkpointId, after);
        this.#order.add(checkpointId);
        added.push(after);
      }
    }
    added.sort((a, b) => a.checkpointId - b.checkpointId);
    return { added, removed: removed.sort((a, b) => a - b) };
  }

  /**
   * As the first VM of its set reports it (any other one says the same), or undefined when a VM of the set lacks it. An id is used once; should two
   * complete sets claim it nevertheless, the newer ownership wins.
   */
  #completeOne(checkpointId: number): Held | undefined {
    let best: Held | undefined;
    for (const claim of this.#claims(checkpointId)) {
      if (this.#isHeldByAll(claim) && (best === undefined || isNewer(claim, best))) best = claim;
    }
    return best === undefined ? undefined : this.#held.get(firstOf(best.vmIds))?.get(checkpointId);
  }

  /** What the journals say of it, each version once: they mostly say the same, and a set of 100 VMs is not to be gone through for each of its 100 journals. */
  #claims(checkpointId: number): Held[] {
    const claims: Held[] = [];
    for (const journal of this.#held.values()) {
      const claim = journal.get(checkpointId);
      if (claim !== undefined && !claims.some((known) => isSame(known, claim))) claims.push(claim);
    }
    return claims;
  }

  #isHeldByAll(claim: Held): boolean {
    return claim.vmIds.length > 0 && claim.vmIds.every((vmId) => {
      const held = this.#held.get(vmId)?.get(claim.checkpointId);
      return held !== undefined && isSame(held, claim);
    });
  }
}

function isNewer(a: HeldCheckpoint, b: HeldCheckpoint): boolean {
  if (a.epoch !== b.epoch) return a.epoch > b.epoch;
  if (a.term !== b.term) return a.term > b.term;
  return setName(a.vmIds) > setName(b.vmIds);
}

const setName = (vmIds: readonly string[]): string => [...vmIds].sort().join(' ');

/** Independent of the order in which the VMs reported. */
const firstOf = (vmIds: readonly string[]): string => [...vmIds].sort()[0] ?? '';

/** Two journals speak of one checkpoint: id, epoch and term as the leader numbered it, over the same VMs. */
function isSame(a: HeldCheckpoint, b: HeldCheckpoint): boolean {
  return a.checkpointId === b.checkpointId && a.epoch === b.epoch && a.term === b.term && isSameSet(a.vmIds, b.vmIds);
}

/** Sets that went through {@link SharedVmSets} are mostly one array, and others mostly in one order. */
function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  if (a.every((vmId, index) => vmId === b[index])) return true;
  const inB = new Set(b);
  return a.every((vmId) => inB.has(vmId));
}
