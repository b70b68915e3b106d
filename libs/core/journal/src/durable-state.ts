import { assert, type Crc32c, unreachable } from '@tidemark/base';
import { decodeMarker, decodeSeal, isVolumeRecord, RecordType, type StreamRecord } from '@tidemark/frame';
import { CheckpointLedger } from './checkpoint-ledger.js';
import type { JournalRecordHeader } from './codec.js';
import { CutOff } from './cut-off.js';
import {
  decodeApplied, decodeDirect, decodeEpoch, decodePromotion, decodeReason, decodeRetirement, decodeSession, decodeSnapshot, decodeThin, decodeVolumes,
  isMarked, marked, unmarked, type JournalSnapshot, type SyncPhase,
} from './control-bodies.js';
import { JournalRecordKind, SEGMENT_HEADER_BYTES } from './layout.js';
import type { Salvage } from './salvage.js';
import { hasStream, type NotedRecord, type StreamMark } from './segment-digest.js';
import { type SegmentSpan, SegmentWrites } from './segment-writes.js';
import type { FramePlace, JournalIdentity } from './types.js';
import { routeOf, syncPhaseAfter, volumesAfter, type JournalVolumeState, type VolumeWish } from './volume-set.js';

export interface SegmentSummary extends SegmentSpan {
  /** End of the last durable record. */
  readonly bytes: number;
  readonly writes: number;
  /** Markers in it, of checkpoints that are held or not. */
  readonly markers: number;
}

/** A record that is on disk, with what is needed to take it into account. */
export interface DurableRecord {
  readonly header: JournalRecordHeader;
  readonly place: FramePlace;
  /** First byte behind the record in its segment. */
  readonly endAt: number;
  /** Body as stored. */
  readonly body: Uint8Array;
  /** Of frames: the decoded table. */
  readonly records: readonly StreamRecord[];
  /** As in `PlacedRecords`. */
  readonly seqs?: readonly number[] | undefined;
}

/**
 * What the durable records of a journal add up to. Live and at the scan after a restart the same code takes them in, one by one, so both
 * agree. Decoders throw ProtocolError for bodies that make no sense.
 */
export class DurableState {
  /** Index of the segments of which no index file is on disk yet, oldest first; of the open segment always. */
  readonly writes: SegmentWrites[] = [];
  readonly ledger = new CheckpointLedger();
  readonly segments: SegmentSummary[] = [];
  readonly cutOff = new CutOff();
  /** Records of new generations taken in by this process, at the scan too. */
  generationCount = 0;
  recordNo = 0;
  chain = 0;
  clockMs = 0;
  snapshot: JournalSnapshot;
  /** Sets of volumes by the position behind which each is in force, oldest first. */
  readonly #volumeSets: { readonly afterSeq: number; readonly volumes: readonly JournalVolumeState[] }[] = [];
  /** The first record of a new generation is yet to come: it counts as it stands, for it may know of records behind the break (see {@link salvage}). */
  #isNewGeneration = false;
  /** False until the first record: then its snapshot counts. */
  #hasBegun = false;

  constructor(
    private readonly identity: JournalIdentity,
    epoch: number,
    private readonly crc32c: Crc32c,
  ) {
    this.snapshot = {
      epoch, reservedEpoch: null, highestEpoch: epoch, isEnded: false, incarnation: 0, sessionId: null, isBaseComplete: false, sync: 'needed',
      lastSeq: 0, appliedSeq: 0, retiredSeq: 0, promotion: null, brokenReason: null, volumes: [],
    };
  }

  /** Of a journal that has no record yet; one that has knows its own. */
  beginWith(volumes: readonly VolumeWish[]): void {
    if (!this.#hasBegun) this.#setVolumes(volumesAfter([], volumes, false), 0);
  }

  /** The volumes of an image at this position: those of then, in the sizes of then. */
  volumesAt(seq: number): readonly JournalVolumeState[] {
    return this.#volumeSets.findLast(({ afterSeq }) => afterSeq < seq)?.volumes ?? this.snapshot.volumes;
  }

  /** True for a removed volume that an older checkpoint still has, and for every one that is not removed. */
  needsVolume(index: number): boolean {
    const oldestSeq = this.ledger.oldest?.markerSeq ?? Infinity;
    const needed = this.#volumeSets.filter((_, i) => (this.#volumeSets[i + 1]?.afterSeq ?? Infinity) >= oldestSeq);
    return [...needed, { volumes: this.snapshot.volumes }].some(({ volumes }) => (volumes[index]?.sizeBytes ?? 0) > 0);
  }

  #setVolumes(volumes: readonly JournalVolumeState[], afterSeq: number): void {
    // One position has one set: the newest word.
    if (this.#volumeSets.at(-1)?.afterSeq === afterSeq) this.#volumeSets.pop();
    this.#volumeSets.push({ afterSeq, volumes });
    this.#set({ volumes });
  }

  /** A segment was opened; its records follow. */
  beginSegment({ segment, generation, firstRecordNo, chainStart }: Pick<SegmentSpan, 'segment' | 'generation' | 'firstRecordNo' | 'chainStart'>): void {
    this.#isNewGeneration = generation > (this.segments.at(-1)?.generation ?? generation);
    // Behind a compacted segment these are not those of its own last record.
    this.recordNo = firstRecordNo - 1;
    this.chain = chainStart;
    const start = { recordNo: firstRecordNo - 1, chain: chainStart, lastSeq: this.snapshot.lastSeq, clockMs: this.clockMs };
    this.segments.push({ segment, generation, firstRecordNo, chainStart, ...start, endAt: SEGMENT_HEADER_BYTES, bytes: SEGMENT_HEADER_BYTES, writes: 0, markers: 0 });
    this.writes.push(new SegmentWrites(segment));
  }

  /** A sealed segment whose index was read instead of its records. */
  takeIndexed(span: SegmentSpan, writes: number, digest: readonly { readonly record: NotedRecord; readonly precedingSeq: number }[]): void {
    this.#isNewGeneration = span.generation > (this.segments.at(-1)?.generation ?? span.generation);
    for (const { record, precedingSeq } of digest) {
      // Frames that hold writes only are not noted.
      if (record.header.kind !== JournalRecordKind.state) this.#set({ lastSeq: precedingSeq });
      this.#take(record);
    }
    this.#set({ lastSeq: span.lastSeq });
    this.recordNo = span.recordNo;
    this.chain = span.chain;
    this.clockMs = Math.max(this.clockMs, span.clockMs);
    const markers = digest.reduce((sum, { record }) => sum + markersIn(record), 0);
    this.segments.push({ ...span, bytes: span.endAt, writes, markers });
  }

  /** The oldest segment was freed. */
  dropOldest(): void {
    const gone = this.segments.shift();
    if (gone === undefined) return;
    if (this.writes[0]?.segment === gone.segment) this.writes.shift();
    this.cutOff.removed(gone.segment);
  }

  /** Of the segment files, with what is cut off. */
  get fileBytes(): number {
    return this.segments.reduce((sum, { bytes }) => sum + bytes, this.cutOff.bytes);
  }

  /** The newest generation has a second segment, and its durable first record repeats what the first one knows of what was cut off. */
  get isStoodFor(): boolean {
    const [before, last] = this.segments.slice(-2);
    return last !== undefined && before?.generation === last.generation && last.bytes > SEGMENT_HEADER_BYTES;
  }

  /** The newest segment began a generation that never came to be: the next one goes on from where this one had cut the journal off. */
  dropNewest(): void {
    const gone = this.segments.pop();
    if (gone !== undefined && this.writes.at(-1)?.segment === gone.segment) this.writes.pop();
    this.recordNo = (gone?.firstRecordNo ?? 1) - 1;
    this.chain = gone?.chainStart ?? 0;
  }

  /** A compaction left less of this one. */
  replaceSegment(summary: SegmentSummary): void {
    const i = this.segments.findIndex(({ segment }) => segment === summary.segment);
    assert(i >= 0 && i < this.segments.length - 1, 'a sealed segment');
    this.segments[i] = summary;
    const isIn = ({ markerSeq }: { readonly markerSeq: number }): boolean => markerSeq > (this.segments[i - 1]?.lastSeq ?? 0) && markerSeq <= summary.lastSeq;
    const { held, open } = this.ledger;
    if (summary.markers <= held.filter(isIn).length + open.filter(isIn).length) this.ledger.forgetThinned(this.segments[i - 1]?.lastSeq ?? 0, summary.lastSeq + 1);
  }

  /** The index file of a sealed segment is durable: what memory holds of it goes. */
  dropWrites(segment: number): void {
    assert(segment !== this.segments.at(-1)?.segment, 'a sealed segment');
    const i = this.writes.findIndex((writes) => writes.segment === segment);
    if (i >= 0) this.writes.splice(i, 1);
  }

  /** The index file of these sealed segments was lost: as if it had not been written yet. */
  restoreWrites(restored: readonly SegmentWrites[]): void {
    const isWanted = ({ segment }: SegmentWrites): boolean => this.segments.some((each) => each.segment === segment) && !this.writes.some((each) => each.segment === segment);
    this.writes.push(...restored.filter(isWanted));
    this.writes.sort((a, b) => a.segment - b.segment);
  }

  /** Stream position before the oldest segment: everything up to it must have been applied when that segment's forerunner was freed. */
  seqBeforeFirstSegment = 0;

  add(record: DurableRecord): void {
    const { header, place, body, records, seqs } = record;
    const noted = { header, body, marks: marksOf(header.firstSeq, records, seqs) };
    const precedingSeq = this.snapshot.lastSeq;
    this.#take(noted);
    const writes = this.writes.at(-1);
    writes?.note(noted, precedingSeq);
    // What went straight into the mirrors does not count here.
    const isWanted = (volume: number, seq: number): boolean => seq > (this.snapshot.volumes[volume]?.baseSeq ?? 0);
    if (hasStream(header.kind)) writes?.addFrame(place, header, { records, seqs }, { crc32c: this.crc32c, isWanted });
    this.recordNo = header.recordNo;
    this.chain = header.chain;
    this.clockMs = Math.max(this.clockMs, header.clockMs);
    const open = this.segments.at(-1);
    if (open === undefined) return;
    const { recordNo, chain, clockMs } = this;
    this.segments[this.segments.length - 1] = {
      ...open, recordNo, chain, clockMs, lastSeq: this.snapshot.lastSeq, endAt: record.endAt, bytes: record.endAt, writes: writes?.writeCount ?? 0,
      markers: open.markers + markersIn(noted),
    };
  }

  #take(record: NotedRecord): void {
    const { header, body } = record;
    switch (header.kind) {
      case JournalRecordKind.state:
        return this.#takeState(body);
      case JournalRecordKind.frame:
        return this.#takeFrame(record);
      case JournalRecordKind.baseFrame:
      case JournalRecordKind.kept:
        return this.#takeFrame(record);
      case JournalRecordKind.incarnation:
        return this.#takeIncarnation(header, decodeSession(body));
      case JournalRecordKind.epochReserve: {
        const epoch = decodeEpoch(body);
        return this.#set({ reservedEpoch: epoch, highestEpoch: Math.max(epoch, this.snapshot.highestEpoch) });
      }
      case JournalRecordKind.epochCommit:
        return this.#set({ epoch: decodeEpoch(body), reservedEpoch: null, isEnded: true });
      case JournalRecordKind.epochBurn:
        return this.#set({ reservedEpoch: null, highestEpoch: Math.max(decodeEpoch(body), this.snapshot.highestEpoch) });
      case JournalRecordKind.retire:
        return this.#takeRetirement(decodeRetirement(body).markerSeq);
      case JournalRecordKind.thin:
        return this.ledger.thin(decodeThin(body));
      case JournalRecordKind.applied:
        return this.#takeApplied(decodeApplied(body));
      case JournalRecordKind.direct:
        return this.#takeDirect(header, decodeDirect(body));
      case JournalRecordKind.volumes:
        // Whatever changed, no image is whole before a sync has ended.
        this.ledger.voidOpen();
        this.#setVolumes(volumesAfter(this.snapshot.volumes, decodeVolumes(body), this.snapshot.isBaseComplete), this.snapshot.lastSeq);
        return this.#set({ sync: 'needed' });
      case JournalRecordKind.generation:
        this.ledger.voidOpen();
        this.generationCount += 1;
        return this.#set({ brokenReason: decodeReason(body), sync: 'needed', sessionId: marked(this.snapshot.sessionId) });
      case JournalRecordKind.promotionStart:
        return this.#takePromotion(decodePromotion(body));
      case JournalRecordKind.promotionEnd:
        return this.#set({ promotion: { checkpointId: decodePromotion(body), isDone: true } });
      case JournalRecordKind.scratch:
        return;
      default:
        return unreachable(header.kind);
    }
  }

  /**
   * What whole records behind a break say of ownership and of the mirrors, though their chain is broken: the mirrors hold what was applied, so
   * no checkpoint below it can be put together any more, and an epoch that was committed stays so. Frames behind the break do not count.
   */
  salvage(found: Salvage): void {
    const { snapshot } = this;
    const appliedSeq = Math.max(snapshot.appliedSeq, found.appliedSeq, snapshot.isBaseComplete ? 0 : found.directSeq);
    const retiredSeq = Math.max(snapshot.retiredSeq, found.retiredSeq);
    // What is reserved before the break and was burned or committed behind it must not be taken for a reservation that only is repeated.
    const isSettled = snapshot.reservedEpoch !== null && snapshot.reservedEpoch <= found.settledEpoch;
    this.#set({
      reservedEpoch: isSettled ? null : snapshot.reservedEpoch,
      epoch: Math.max(snapshot.epoch, found.epoch), highestEpoch: Math.max(snapshot.highestEpoch, found.highestEpoch, found.epoch),
      isEnded: snapshot.isEnded || found.isEnded, promotion: found.promotion ?? snapshot.promotion, appliedSeq, retiredSeq,
      // New positions begin behind all that was applied or retired: neither word, in whatever file it is read again, is about what comes now. (The checkpoint at retiredSeq stays, and what is
      // before it is applied: from there on, not behind it.)
      incarnation: Math.max(snapshot.incarnation, found.incarnation), lastSeq: Math.max(snapshot.lastSeq, appliedSeq, retiredSeq - 1),
    });
    this.#takeOver(this.snapshot);
  }

  /**
   * Nothing of the stream before the oldest segment is left but what the mirrors have: no checkpoint of now has an image, in no later scan either, and what a later
   * generation copies goes on top.
   */
  frontLost(): void {
    this.ledger.keep(() => false);
    this.#set({ appliedSeq: this.seqBeforeFirstSegment, retiredSeq: Math.max(this.snapshot.retiredSeq, this.snapshot.lastSeq + 1) });
  }

  #set(change: Partial<JournalSnapshot>): void {
    this.snapshot = { ...this.snapshot, ...change };
  }

  /** Within a scan the snapshot only repeats what is known; the first one stands for the segments that are gone. */
  #takeState(body: Uint8Array): void {
    const snapshot = decodeSnapshot(body);
    if (this.#isNewGeneration && this.#hasBegun) return this.#takeOver(snapshot);
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    this.snapshot = snapshot;
    this.#volumeSets.length = 0;
    this.#setVolumes(snapshot.volumes, 0);
    this.seqBeforeFirstSegment = snapshot.lastSeq;
  }

  #takeOver(snapshot: JournalSnapshot): void {
    this.#isNewGeneration = false;
    const { retiredSeq, appliedSeq, promotion } = snapshot;
    this.snapshot = snapshot;
    this.ledger.keep(({ markerSeq, checkpointId }) =>
      markerSeq >= retiredSeq && markerSeq > appliedSeq && (promotion === null || promotion.checkpointId === checkpointId));
  }

  #takeIncarnation(header: NotedRecord['header'], sessionId: string): void {
    this.ledger.voidOpen();
    // Another session: writes between the two may never have been captured, so no image is whole until its sync ends.
    const { sync, sessionId: before } = this.snapshot;
    this.#set({ incarnation: header.incarnation, sessionId: isMarked(before) ? marked(sessionId) : sessionId, sync: sessionId === before ? sync : 'needed' });
  }

  /** Until the base is complete nothing else is in the journal, so all of it counts as applied. Later an added volume is copied between frames of the others. */
  #takeDirect({ lastSeq }: NotedRecord['header'], sync: SyncPhase): void {
    const sessionId = sync === 'needed' ? this.snapshot.sessionId : unmarked(this.snapshot.sessionId);
    const brokenReason = sync === 'idle' ? null : this.snapshot.brokenReason;
    this.#set({ lastSeq, sync, sessionId, brokenReason, ...(this.snapshot.isBaseComplete ? {} : { appliedSeq: lastSeq }) });
  }

  #takeFrame({ header, marks }: NotedRecord): void {
    const { snapshot } = this;
    const route = routeOf(header, inPlaces(header.firstSeq, marks), snapshot);
    // A base frame's own syncEnd completes the base, for the markers behind it.
    this.#set({ isBaseComplete: route.isBaseComplete, volumes: route.volumes });
    let sync: SyncPhase = header.firstSeq === snapshot.lastSeq + 1 ? snapshot.sync : 'needed';
    for (const mark of marks) {
      sync = syncPhaseAfter(sync, mark.type);
      if (mark.type === RecordType.marker && sync === 'idle') this.#takeMarker(header, mark);
      if (mark.type === RecordType.seal && mark.payload !== undefined) this.ledger.seal(decodeSeal(mark.payload), header.incarnation);
    }
    const brokenReason = sync === 'idle' ? null : snapshot.brokenReason;
    this.#set({ lastSeq: header.lastSeq, sync, brokenReason, sessionId: sync === 'needed' ? snapshot.sessionId : unmarked(snapshot.sessionId) });
  }

  #takeMarker(header: NotedRecord['header'], { seq, payload }: StreamMark): void {
    if (payload === undefined || !this.snapshot.isBaseComplete) return;
    const marker = decodeMarker(payload);
    if (marker.vpgId !== this.identity.vpgId) return;
    this.ledger.marker(marker, { markerSeq: seq, incarnation: header.incarnation, arrivedMs: header.clockMs, arrivedAtMs: header.atMs });
  }

  #takeRetirement(markerSeq: number): void {
    this.ledger.keepFrom(markerSeq);
    this.ledger.voidOpenBefore(markerSeq);
    this.#set({ retiredSeq: Math.max(markerSeq, this.snapshot.retiredSeq) });
  }

  #takeApplied(appliedSeq: number): void {
    this.#set({ appliedSeq: Math.max(appliedSeq, this.snapshot.appliedSeq) });
    // Behind a break too it is known how far the mirrors are: nothing below comes back.
    this.ledger.forgetThinned(0, this.snapshot.appliedSeq + 1);
  }

  /** From now on the mirrors turn into this checkpoint's disks: no other image can be put together any more. */
  #takePromotion(checkpointId: number): void {
    this.ledger.voidOpen();
    this.ledger.keep((checkpoint) => checkpoint.checkpointId === checkpointId);
    this.#set({ promotion: { checkpointId, isDone: false } });
  }
}

const markersIn = ({ marks }: NotedRecord): number => marks.reduce((sum, { type }) => sum + (type === RecordType.marker ? 1 : 0), 0);

function marksOf(firstSeq: number, records: readonly StreamRecord[], seqs: readonly number[] | undefined): StreamMark[] {
  const marks: StreamMark[] = [];
  for (let i = 0; i < records.length; i += 1) {
    const record = records[i];
    if (record !== undefined && !isVolumeRecord(record.type)) marks.push({ seq: seqs?.[i] ?? firstSeq + i, type: record.type, payload: record.payload });
  }
  return marks;
}

/** What a route's state depends on stands at the places where the marks stood; the writes between them are left out. */
function inPlaces(firstSeq: number, marks: readonly StreamMark[]): StreamRecord[] {
  const records: StreamRecord[] = [];
  for (const { seq, type, payload } of marks) records[seq - firstSeq] = { type, volume: 0, offset: 0, length: 0, payload };
  return records;
}
