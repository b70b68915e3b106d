import type { HeldChanges, HeldCheckpoint } from './checkpoint-catalogue.js';
import { JournalListing, type ListingPage, type ListingQuestion } from './journal-listing.js';
import { ListingAllowance, type ListingLimits, unitsOf } from './listing-allowance.js';
import { SharedVmSets } from './shared-vm-sets.js';

/** A refused list is not read again before. Below a minute: the alert about it does not go off meanwhile. */
const REFUSED_MS = 30_000;

export interface IntakePage<Held extends HeldCheckpoint> {
  readonly question: ListingQuestion;
  readonly page: ListingPage<Held>;
  readonly limits: ListingLimits;
  readonly nowMs: number;
  /** The same checkpoint as this journal has said it before; it costs nothing to hear it again. */
  readonly known: (checkpoint: Held) => Held | undefined;
}

/**
 * What one journal's VRA lists, as far as it can be true. A VRA that was taken over lists what it likes, and each entry takes memory of its ZVM: what comes in is
 * paid for from the journal's own {@link ListingAllowance}, so one that lies takes nothing from the others. What is refused is refused as a whole, and what was known holds.
 */
export class JournalIntake<Held extends HeldCheckpoint> {
  #listing = new JournalListing<Held>();
  readonly #vmSets: SharedVmSets;
  readonly #allowance: ListingAllowance;
  /** Of the list that is being read. */
  #units = 0;
  #heldOffUntilMs = -Infinity;

  /** @param vmSets of the whole VPG */
  constructor(vmSets: SharedVmSets, limits: ListingLimits, before: { readonly listedBefore: number; readonly nowMs: number }) {
    this.#vmSets = new SharedVmSets(vmSets);
    this.#allowance = new ListingAllowance(limits, before);
  }

  get listing(): JournalListing<Held> {
    return this.#listing;
  }

  isHeldOff(nowMs: number): boolean {
    return nowMs < this.#heldOffUntilMs;
  }

  /** The answer to `question`. Undefined: nothing to tell yet. */
  take({ question, page, limits, nowMs, known }: IntakePage<Held>): HeldChanges<Held> | 'refused' | undefined {
    if (question.afterCheckpointId === undefined) this.#units = 0;
    const held = page.held.map((checkpoint) => this.#kept(checkpoint, known(checkpoint)));
    if (!this.#allowance.isEnough(this.#units, limits, nowMs)) {
      this.#listing = new JournalListing<Held>();
      this.#heldOffUntilMs = nowMs + REFUSED_MS;
      return 'refused';
    }
    const news = this.#listing.take(question, { ...page, held });
    if (news) this.#allowance.take(this.#units);
    return news;
  }

  /** With an array of VMs that is there already, where there is one. */
  #kept(checkpoint: Held, known: Held | undefined): Held {
    if (known) return { ...checkpoint, vmIds: known.vmIds };
    const vmIds = this.#vmSets.of(checkpoint.vmIds);
    const isNewSet = vmIds === checkpoint.vmIds;
    this.#units += unitsOf(checkpoint, isNewSet ? vmIds.reduce((sum, vmId) => sum + vmId.length + ID_CHARACTERS, 0) : 0);
    return { ...checkpoint, vmIds };
  }
}

/** Each name of a set costs that beside its letters. */
const ID_CHARACTERS = 24;
