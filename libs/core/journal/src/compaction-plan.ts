import type { SegmentSummary } from './durable-state.js';

/** How a segment stood when it was last looked at: it is looked at again when twice as much may be freed, so that each write is rewritten O(log) times. */
export interface CompactionNote {
  /** Markers of checkpoints inside. */
  readonly markers: number;
  /** Stream positions from its end to the next marker. */
  readonly distance: number;
}

export interface CompactionQuestion {
  /** All of the journal, oldest first; the last one is open. */
  readonly segments: readonly SegmentSummary[];
  readonly appliedSeq: number;
  /** Only segments that end below. */
  readonly beforeSeq: number;
  /** Ascending. */
  readonly markerSeqs: readonly number[];
  readonly notes: ReadonlyMap<number, CompactionNote>;
  readonly isIndexed: (segment: number) => boolean;
}

export interface PlannedSegment {
  readonly summary: SegmentSummary;
  /** False: it is read only for what it covers in older ones. */
  readonly isCandidate: boolean;
  /** The plan leaves out the segment behind it. */
  readonly isApart: boolean;
  readonly note: CompactionNote;
}

/** Segments read only for what they cover, on end: more would cost more than they free. */
const COVER_MAX = 64;

/**
 * The segments to walk through, newest first. Candidates have lost half of the markers that they hold, or the next marker has moved twice as far away.
 * Never one of another generation than the newest: its end is not where its file ends.
 */
export function planCompaction(question: CompactionQuestion): PlannedSegment[] {
  const { segments } = question;
  const facts = segments.map((summary, i) => factsOf(question, summary, i));
  const plan: PlannedSegment[] = [];
  const nearest = candidatesUpTo(facts);
  let last = -1;
  for (let i = segments.length - 2; i >= 0; i -= 1) {
    // Itself, or the next one below.
    const candidate = nearest[i] ?? -1;
    if (candidate < 0) break;
    const fact = facts[i];
    const summary = segments[i];
    if (fact === undefined || summary === undefined) continue;
    // A marker between the two: nothing in this one hides a version that the candidate holds.
    const isCover = i > candidate && i - candidate <= COVER_MAX && fact.isOfNewest && (facts[candidate]?.nextMarker ?? 0) > fact.afterSeq;
    if (fact.isCandidate || isCover) {
      plan.push({ summary, isCandidate: fact.isCandidate, isApart: last !== i + 1, note: fact.note });
      last = i;
    }
  }
  return plan;
}

/** By index the highest candidate that is not above it; -1: none. */
function candidatesUpTo(facts: readonly Facts[]): number[] {
  let found = -1;
  return facts.map(({ isCandidate }, i) => (found = isCandidate ? i : found));
}

interface Facts {
  readonly isCandidate: boolean;
  readonly isOfNewest: boolean;
  readonly afterSeq: number;
  readonly nextMarker: number;
  readonly note: CompactionNote;
}

function factsOf({ segments, appliedSeq, beforeSeq, markerSeqs, notes, isIndexed }: CompactionQuestion, summary: SegmentSummary, i: number): Facts {
  const { segment, lastSeq, generation } = summary;
  const afterSeq = segments[i - 1]?.lastSeq ?? appliedSeq;
  const isOfNewest = generation === segments.at(-1)?.generation;
  const inside = firstAbove(markerSeqs, lastSeq) - firstAbove(markerSeqs, afterSeq);
  const nextMarker = markerSeqs[firstAbove(markerSeqs, lastSeq)];
  const note = { markers: inside, distance: (nextMarker ?? lastSeq) - lastSeq };
  const isPossible = isOfNewest && i < segments.length - 1 && lastSeq > appliedSeq && lastSeq < beforeSeq && nextMarker !== undefined && isIndexed(segment);
  const before = notes.get(segment) ?? { markers: summary.markers, distance: 0 };
  const span = Math.max(1, lastSeq - afterSeq);
  const isDue = (before.markers > 0 && 2 * inside <= before.markers) || note.distance >= 2 * Math.max(before.distance, span);
  return { isCandidate: isPossible && isDue, isOfNewest, afterSeq, nextMarker: nextMarker ?? 0, note };
}

/** Index of the first number above `limit`. */
function firstAbove(sorted: readonly number[], limit: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
