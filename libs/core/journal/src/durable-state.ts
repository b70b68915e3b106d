import { unreachable } from '@tidemark/base';
import { decodeMarker, decodeSeal, RecordType, type StreamRecord } from '@tidemark/frame';
import { CheckpointLedger } from './checkpoint-ledger.js';
import type { JournalRecordHeader } from './codec.js';
import {
  decodeApplied, decodeDirect, decodeEpoch, decodePromotion, decodeReason, decodeRetirement, decodeSession, decodeSnapshot, decodeThin, decodeVolumes,
  isMarked, marked, unmarked, type JournalSnapshot, type SyncPhase,
} from './control-bodies.js';
import { JournalRecordKind } from './layout.js';
import type { Salvage } from './salvage.js';
import type { FramePlace, JournalIdentity } from './types.js';
import { routeOf, syncPhaseAfter, volumesAfter, type JournalVolumeState, type VolumeWish } from './volume-set.js';
import { WriteIndex } from './write-index.js';

export interface SegmentSummary {
  readonly segment: number;
  readonly generation: number;
  /** End of the last durable record. */
  readonly bytes: number;
  /** Stream position at that end. */
  readonly lastSeq: number;
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
}

/**
 * What the durable records of a journal add up to. Live and at the scan after a restart the same code takes them in, one by one, so both
 * agree. Decoders throw ProtocolError for bodies that make no sense.
 */
export class DurableState {
  readonly index = new WriteIndex();
  readonly ledger = new CheckpointLedger();
  readonly segments: SegmentSummary[] = [];
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
  beginSegment(segment: number, generation: number, headerBytes: number): void {
    this.#isNewGeneration = generation > (this.segments.at(-1)?.generation ?? generation);
    this.segments.push({ segment, generation, bytes: headerBytes, lastSeq: this.snapshot.lastSeq });
  }

  /** Stream position before the oldest segment: everything up to it must have been applied when that segment's forerunner was freed. */
  seqBeforeFirstSegment = 0;

  add(record: DurableRecord): void {
    this.#take(record);
    this.recordNo = record.header.recordNo;
    this.chain = record.header.chain;
    this.clockMs = Math.max(this.clockMs, record.header.clockMs);
    const open = this.segments.at(-1);
    if (open !== undefined) this.segments[this.segments.length - 1] = { ...open, bytes: record.endAt, lastSeq: this.snapshot.lastSeq };
  }

  #take(record: DurableRecord): void {
    const { header, body } = record;
    switch (header.kind) {
      case JournalRecordKind.state:
        return this.#takeState(body);
      case JournalRecordKind.frame:
        return this.#takeFrame(record);
      case JournalRecordKind.baseFrame:
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
      case JournalRecordKind.thin: {
        const dropped = new Set(decodeThin(body));
        return this.ledger.keep(({ checkpointId }) => !dropped.has(checkpointId));
      }
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
    const appliedSeq = Math.max(snapshot.appliedSeq, found.appliedSeq);
    const retiredSeq = Math.max(snapshot.retiredSeq, found.retiredSeq);
    this.#set({
      epoch: Math.max(snapshot.epoch, found.epoch), highestEpoch: Math.max(snapshot.highestEpoch, found.highestEpoch, found.epoch),
      isEnded: snapshot.isEnded || found.isEnded, promotion: found.promotion ?? snapshot.promotion, appliedSeq, retiredSeq,
      incarnation: Math.max(snapshot.incarnation, found.incarnation), lastSeq: Math.max(snapshot.lastSeq, appliedSeq),
    });
    this.#takeOver(this.snapshot);
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
    this.index.dropThrough(appliedSeq);
  }

  #takeIncarnation(header: JournalRecordHeader, sessionId: string): void {
    this.ledger.voidOpen();
    // Another session: writes between the two may never have been captured, so no image is whole until its sync ends.
    const { sync, sessionId: before } = this.snapshot;
    this.#set({ incarnation: header.incarnation, sessionId: isMarked(before) ? marked(sessionId) : sessionId, sync: sessionId === before ? sync : 'needed' });
  }

  /** Until the base is complete nothing else is in the journal, so all of it counts as applied. Later an added volume is copied between frames of the others. */
  #takeDirect({ lastSeq }: JournalRecordHeader, sync: SyncPhase): void {
    const sessionId = sync === 'needed' ? this.snapshot.sessionId : unmarked(this.snapshot.sessionId);
    const brokenReason = sync === 'idle' ? null : this.snapshot.brokenReason;
    this.#set({ lastSeq, sync, sessionId, brokenReason, ...(this.snapshot.isBaseComplete ? {} : { appliedSeq: lastSeq }) });
  }

  #takeFrame({ header, place, records }: DurableRecord): void {
    const { snapshot } = this;
    const route = routeOf(header, records, snapshot);
    // A base frame's own syncEnd completes the base, for the markers behind it.
    this.#set({ isBaseComplete: route.isBaseComplete, volumes: route.volumes });
    let sync: SyncPhase = header.firstSeq === snapshot.lastSeq + 1 ? snapshot.sync : 'needed';
    let seq = header.firstSeq;
    for (const record of records) {
      sync = syncPhaseAfter(sync, record.type);
      if (record.type === RecordType.marker && sync === 'idle') this.#takeMarker(header, seq, record);
      if (record.type === RecordType.seal && record.payload !== undefined) this.ledger.seal(decodeSeal(record.payload), header.incarnation);
      seq += 1;
    }
    this.index.addFrame(place, header.firstSeq, records, (volume, at) => at > (route.volumes[volume]?.baseSeq ?? 0));
    const brokenReason = sync === 'idle' ? null : snapshot.brokenReason;
    this.#set({ lastSeq: header.lastSeq, sync, brokenReason, sessionId: sync === 'needed' ? snapshot.sessionId : unmarked(snapshot.sessionId) });
  }

  #takeMarker(header: JournalRecordHeader, markerSeq: number, record: StreamRecord): void {
    if (record.payload === undefined || !this.snapshot.isBaseComplete) return;
    const marker = decodeMarker(record.payload);
    if (marker.vpgId !== this.identity.vpgId) return;
    this.ledger.marker(marker, { markerSeq, incarnation: header.incarnation, arrivedMs: header.clockMs, arrivedAtMs: header.atMs });
  }

  #takeRetirement(markerSeq: number): void {
    this.ledger.keep((checkpoint) => checkpoint.markerSeq >= markerSeq);
    this.ledger.voidOpenBefore(markerSeq);
    this.#set({ retiredSeq: Math.max(markerSeq, this.snapshot.retiredSeq) });
  }

  #takeApplied(appliedSeq: number): void {
    this.index.dropThrough(appliedSeq);
    this.#set({ appliedSeq: Math.max(appliedSeq, this.snapshot.appliedSeq) });
  }

  /** From now on the mirrors turn into this checkpoint's disks: no other image can be put together any more. */
  #takePromotion(checkpointId: number): void {
    this.ledger.voidOpen();
    this.ledger.keep((checkpoint) => checkpoint.checkpointId === checkpointId);
    this.#set({ promotion: { checkpointId, isDone: false } });
  }
}
