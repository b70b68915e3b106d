import type { CheckpointMarker, CheckpointSeal } from '@tidemark/frame';
import type { HeldCheckpoint, ListingPage, ListingQuestion } from './types.js';

/** Markers that wait for their seal. One checkpoint of a VPG is open at a time; more are void ones that never get theirs. */
const OPEN_MARKERS_MAX = 64;
/** A reader that lags further behind gets the whole list. */
const CHANGES_MAX = 4096;
/**
 * What one page of a listing holds at most. A checkpoint weighs 4 and one more per VM of its set, and a unit is some 50 bytes of JSON: 1.5 MB, and a
 * fraction of that on its way, where it is packed.
 */
const PAGE_WEIGHT_MAX = 30_000;
const CHECKPOINT_WEIGHT = 4;

type Change = { readonly held: HeldCheckpoint } | { readonly dropped: number };

/** Which checkpoints the journal holds, in stream order, and what changed when. Knows nothing of files. */
export class CheckpointLedger {
  #held: HeldCheckpoint[] = [];
  readonly #open = new Map<number, HeldCheckpoint>();
  #changes: Change[] = [];
  /** Dropped, one by one or retired, and not below what is applied, with the position of the marker; undefined: not met yet. */
  readonly #thinned = new Map<number, number | undefined>();
  #lastChange = 0;

  constructor(private readonly changesMax = CHANGES_MAX) {}

  get lastChange(): number {
    return this.#lastChange;
  }

  get held(): readonly HeldCheckpoint[] {
    return this.#held;
  }

  /** Markers that wait for their seal. */
  get open(): readonly HeldCheckpoint[] {
    return [...this.#open.values()];
  }

  get oldest(): HeldCheckpoint | undefined {
    return this.#held[0];
  }

  get newest(): HeldCheckpoint | undefined {
    return this.#held.at(-1);
  }

  find(checkpointId: number): HeldCheckpoint | undefined {
    const found = this.#held[this.#indexFrom(checkpointId)];
    return found?.checkpointId === checkpointId ? found : undefined;
  }

  /** Those with an id of at least `checkpointId`, oldest first. */
  from(checkpointId: number, countMax: number): readonly HeldCheckpoint[] {
    const at = this.#indexFrom(checkpointId);
    return this.#held.slice(at, at + countMax);
  }

  /** Numbers of checkpoints grow along the stream (a higher term numbers above every lower one), so half of the list is never looked at. */
  #indexFrom(checkpointId: number): number {
    let low = 0;
    let high = this.#held.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#held[middle]?.checkpointId ?? 0) < checkpointId) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** A marker of a complete base with no sync under way. */
  marker(marker: CheckpointMarker, arrival: Omit<HeldCheckpoint, 'checkpointId' | 'marker'>): void {
    if (this.#open.size === OPEN_MARKERS_MAX) {
      const [first] = this.#open.keys();
      if (first !== undefined) this.#open.delete(first);
    }
    this.#open.set(marker.checkpointId, { ...arrival, checkpointId: marker.checkpointId, marker });
  }

  /** Holds the checkpoint if its marker is of the same incarnation and term; otherwise it is void. */
  seal(seal: CheckpointSeal, incarnation: number): void {
    const open = this.#open.get(seal.checkpointId);
    this.#open.delete(seal.checkpointId);
    if (open === undefined || open.incarnation !== incarnation || open.marker.term !== seal.term || open.marker.vpgId !== seal.vpgId) return;
    if (this.find(seal.checkpointId) !== undefined) return;
    if (this.#thinned.has(seal.checkpointId)) return void this.#thinned.set(seal.checkpointId, open.markerSeq);
    // A number that does not grow is a mistake of the sender's; a marker whose seal comes behind the next one's seal only waited.
    const at = this.#indexFrom(open.checkpointId);
    const before = this.#held[at - 1];
    const behind = this.#held[at];
    if ((before?.markerSeq ?? 0) > open.markerSeq || (behind?.markerSeq ?? Infinity) < open.markerSeq) return;
    this.#held.splice(at, 0, open);
    this.#note({ held: open });
  }

  /** A new incarnation: what was not sealed never will be. */
  voidOpen(): void {
    this.#open.clear();
  }

  /** A checkpoint below what is retired must not come to be held by a late seal. */
  voidOpenBefore(markerSeq: number): void {
    for (const [id, open] of this.#open) if (open.markerSeq < markerSeq) this.#open.delete(id);
  }

  /** Drops those whose marker lies before: what is retired. Looks at those and, to find them, at no more than the logarithm of the rest. */
  keepFrom(markerSeq: number): void {
    let low = 0;
    let high = this.#held.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#held[middle]?.markerSeq ?? 0) < markerSeq) low = middle + 1;
      else high = middle;
    }
    for (const { checkpointId, markerSeq: seq } of this.#held.splice(0, low)) {
      this.#thinned.set(checkpointId, seq);
      this.#note({ dropped: checkpointId });
    }
  }

  /** Drops these, and those of them that come later: a compacted segment says at its end which images it has no part of any more, and their markers may stand behind it. */
  thin(checkpointIds: readonly number[]): void {
    for (const id of checkpointIds) this.#thinned.set(id, this.find(id)?.markerSeq ?? this.#thinned.get(id));
    this.keep(({ checkpointId }) => !this.#thinned.has(checkpointId));
  }

  /** Dropped, their markers between these positions. */
  thinnedBetween(afterSeq: number, beforeSeq: number): number[] {
    return [...this.#thinned].filter(([, seq]) => seq !== undefined && seq > afterSeq && seq < beforeSeq).map(([id]) => id);
  }

  /** Everything was read: what has not been met has no marker any more. */
  forgetUnmet(): void {
    for (const [id, seq] of [...this.#thinned]) if (seq === undefined) this.#thinned.delete(id);
  }

  /** Their markers are gone: they cannot come back. */
  forgetThinned(afterSeq: number, beforeSeq: number): void {
    for (const [id, seq] of this.#thinned) if (seq !== undefined && seq > afterSeq && seq < beforeSeq) this.#thinned.delete(id);
  }

  /** Drops the checkpoints for which `isKept` is false. Looks at all. */
  keep(isKept: (checkpoint: HeldCheckpoint) => boolean): void {
    const dropped = this.#held.filter((checkpoint) => !isKept(checkpoint));
    if (dropped.length === 0) return;
    this.#held = this.#held.filter(isKept);
    for (const { checkpointId } of dropped) this.#note({ dropped: checkpointId });
  }

  /** One page, never empty while more follows. Work is of the size of the page, not of the list. */
  listing({ afterChange, afterCheckpointId = 0 }: ListingQuestion, weightMax = PAGE_WEIGHT_MAX): ListingPage {
    const from = afterChange === undefined ? -1 : afterChange - (this.#lastChange - this.#changes.length);
    return from < 0 || from > this.#changes.length ? this.#wholePage(afterChange === undefined ? afterCheckpointId : 0, weightMax) : this.#changePage(from, weightMax);
  }

  #wholePage(afterCheckpointId: number, weightMax: number): ListingPage {
    const at = this.#indexFrom(afterCheckpointId + 1);
    const end = endOfPage(this.#held, at, weightMax, weightOf);
    return { lastChange: this.#lastChange, isWhole: true, isMore: end < this.#held.length, held: this.#held.slice(at, end), dropped: [] };
  }

  #changePage(from: number, weightMax: number): ListingPage {
    const end = endOfPage(this.#changes, from, weightMax, (change) => ('held' in change ? weightOf(change.held) : 1));
    const changes = this.#changes.slice(from, end);
    // What became of a checkpoint last is what counts.
    const outcomes = [...new Map(changes.map((change) => ['held' in change ? change.held.checkpointId : change.dropped, change])).values()];
    const held = outcomes.flatMap((change) => ('held' in change ? [change.held] : []));
    const dropped = outcomes.flatMap((change) => ('dropped' in change ? [change.dropped] : []));
    const behind = this.#changes.length - end;
    return { lastChange: this.#lastChange - behind, isWhole: false, isMore: behind > 0, held, dropped };
  }

  #note(change: Change): void {
    this.#lastChange += 1;
    this.#changes.push(change);
    if (this.#changes.length > this.changesMax) this.#changes = this.#changes.slice(-this.changesMax / 2);
  }
}

const weightOf = ({ marker }: HeldCheckpoint): number => CHECKPOINT_WEIGHT + marker.vmIds.length;

/** One at least, however much it weighs. */
function endOfPage<T>(list: readonly T[], from: number, weightMax: number, weigh: (one: T) => number): number {
  let weight = 0;
  for (let at = from; at < list.length; at += 1) {
    weight += weigh(list[at] as T);
    if (weight > weightMax) return Math.max(at, from + 1);
  }
  return list.length;
}
