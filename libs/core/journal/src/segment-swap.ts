import type { ApplyJobs } from './apply-jobs.js';
import type { DurableState, SegmentSummary } from './durable-state.js';
import type { JournalEffect, JournalState } from './types.js';
import type { KeptImages } from './version-sweep.js';

/** What a compaction asks and tells the engine: the files are the caller's. */
export class SegmentSwap {
  constructor(private readonly parts: { readonly state: DurableState; readonly apply: ApplyJobs; readonly phase: () => JournalState }) {}

  /** What has to stay readable. Whatever is retired or thinned later, it becomes less. */
  get images(): KeptImages {
    const { ledger, snapshot } = this.parts.state;
    const kept = [...ledger.held, ...ledger.open].sort((a, b) => a.markerSeq - b.markerSeq);
    return {
      markerSeqs: kept.map(({ markerSeq }) => markerSeq),
      checkpointIds: new Set(kept.map(({ checkpointId }) => checkpointId)),
      baseSeqs: snapshot.volumes.map(({ baseSeq }) => baseSeq),
    };
  }

  /**
   * Checkpoints that were dropped and take from this segment what it need not have any more: behind its beginning, before the next marker behind it that stays. Of their own drop nobody
   * may know one day, for the record stands behind a break.
   */
  droppedBy({ segment, lastSeq }: SegmentSummary, { markerSeqs }: KeptImages): readonly number[] {
    const { segments, ledger } = this.parts.state;
    const before = segments[segments.findIndex((each) => each.segment === segment) - 1];
    return ledger.thinnedBetween(before?.lastSeq ?? 0, markerSeqs.find((seq) => seq > lastSeq) ?? Infinity);
  }

  /** A view is open, or the head is being read. */
  get isRead(): boolean {
    return this.parts.apply.hasReader;
  }

  /** Nobody reads a segment or frees one from now on until {@link release}. False: somebody does, or the journal is not in order. */
  hold(): boolean {
    const { promotion, isEnded } = this.parts.state.snapshot;
    const { phase } = this.parts.phase();
    return !isEnded && promotion === null && (phase === 'open' || phase === 'full') && this.parts.apply.hold();
  }

  /** These segments are other files now, durably. */
  release(replaced: readonly SegmentSummary[], effects: JournalEffect[]): void {
    for (const summary of replaced) this.parts.state.replaceSegment(summary);
    this.parts.apply.release(effects);
  }
}
