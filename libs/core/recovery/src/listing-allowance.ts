import type { HeldCheckpoint } from './checkpoint-catalogue.js';

/** What the settings of a VPG can make of the list of one of its journals. */
export interface ListingLimits {
  readonly historyMs: number;
  readonly intervalMs: number;
}

/** So much text costs as much memory as a checkpoint does, some 200 bytes. */
const UNIT_CHARACTERS = 200;
/** Three days of a checkpoint each 5 s: what a test that was left open kept from going while nobody read the list, tagged ones, edits of the VM set. About 12 MB. */
const SLACK_UNITS = 60_000;
/** Those of a longer interval may have been made while it was shorter. */
const INTERVAL_MS_MAX = 5000;
/** One for each interval, and as many tagged ones. */
const SHARE = 2;

/** One for a checkpoint, and more for what it is called and for a set of VMs that nobody keeps yet. */
export const unitsOf = ({ tag }: Pick<HeldCheckpoint, 'tag'>, setCharacters: number): number => 1 + ((tag?.length ?? 0) + setCharacters) / UNIT_CHARACTERS;

/**
 * What one journal may still add to a list. A list can be far longer than the history: a view that is open keeps its checkpoint and all behind it. But
 * it only gets there one interval after the other. So what comes at once is bounded by the history, and what is beyond has to have had the time for it.
 */
export class ListingAllowance {
  #units: number;
  #atMs: number;

  /** @param listedBefore what this site has listed of the VPG before it was started: that much was there. */
  constructor(limits: ListingLimits, { listedBefore, nowMs }: { readonly listedBefore: number; readonly nowMs: number }) {
    this.#units = Math.max(capacityOf(limits), SHARE * listedBefore);
    this.#atMs = nowMs;
  }

  /** `nowMs`: monotonic. */
  isEnough(units: number, limits: ListingLimits, nowMs: number): boolean {
    const gained = (SHARE * Math.max(0, nowMs - this.#atMs)) / shortestOf(limits);
    this.#atMs = nowMs;
    // Time adds nothing beyond the capacity, and takes nothing of what was there before.
    this.#units = Math.max(this.#units, Math.min(this.#units + gained, capacityOf(limits)));
    return units <= this.#units;
  }

  take(units: number): void {
    this.#units -= units;
  }
}

const shortestOf = ({ intervalMs }: ListingLimits): number => Math.min(intervalMs, INTERVAL_MS_MAX);

const capacityOf = (limits: ListingLimits): number => SLACK_UNITS + SHARE * Math.ceil(limits.historyMs / shortestOf(limits));
