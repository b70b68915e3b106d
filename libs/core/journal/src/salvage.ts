import type { FoundRecord } from './scanner.js';
import { attempt, decodeApplied, decodeEpoch, decodePromotion, decodeRetirement, decodeSnapshot, type JournalSnapshot } from './control-bodies.js';
import { JournalRecordKind } from './layout.js';

/** The furthest that any whole record behind a break tells. */
export interface Salvage {
  readonly epoch: number;
  readonly highestEpoch: number;
  /** A reservation of this number or a lower one was burned or committed. */
  readonly settledEpoch: number;
  readonly isEnded: boolean;
  readonly incarnation: number;
  readonly retiredSeq: number;
  readonly appliedSeq: number;
  /** Of `direct` records: applied where the base was not complete; behind a complete base they are copies of volumes that no checkpoint before the break has. */
  readonly directSeq: number;
  readonly promotion: JournalSnapshot['promotion'];
}

export const NO_SALVAGE: Salvage = { epoch: 0, highestEpoch: 0, settledEpoch: 0, isEnded: false, incarnation: 0, retiredSeq: 0, appliedSeq: 0, directSeq: 0, promotion: null };

/** Adds what one record says whose checksums hold. A reserved epoch is not taken over: its number counts as used, which refuses more than it must. */
export function withRecord(known: Salvage, { header, body }: Pick<FoundRecord, 'header' | 'body'>): Salvage {
  const told = attempt(() => toldBy(header.kind, header.lastSeq, body)) ?? {};
  return {
    epoch: Math.max(known.epoch, header.epoch, told.epoch ?? 0),
    highestEpoch: Math.max(known.highestEpoch, told.highestEpoch ?? 0),
    settledEpoch: Math.max(known.settledEpoch, told.settledEpoch ?? 0),
    isEnded: known.isEnded || (told.isEnded ?? false),
    incarnation: Math.max(known.incarnation, header.incarnation),
    retiredSeq: Math.max(known.retiredSeq, told.retiredSeq ?? 0),
    appliedSeq: Math.max(known.appliedSeq, told.appliedSeq ?? 0),
    directSeq: Math.max(known.directSeq, told.directSeq ?? 0),
    // There is one, and the records may come in any order.
    promotion: known.promotion?.isDone === true ? known.promotion : told.promotion ?? known.promotion,
  };
}

function toldBy(kind: JournalRecordKind, lastSeq: number, body: Uint8Array): Partial<Salvage> {
  switch (kind) {
    case JournalRecordKind.state: {
      const { epoch, reservedEpoch, highestEpoch, isEnded, retiredSeq, appliedSeq, promotion } = decodeSnapshot(body);
      return { epoch, highestEpoch, settledEpoch: reservedEpoch === null ? highestEpoch : reservedEpoch - 1, isEnded, retiredSeq, appliedSeq, promotion };
    }
    case JournalRecordKind.epochReserve:
      return { highestEpoch: decodeEpoch(body) };
    case JournalRecordKind.epochBurn:
      return { highestEpoch: decodeEpoch(body), settledEpoch: decodeEpoch(body) };
    case JournalRecordKind.epochCommit:
      return { epoch: decodeEpoch(body), settledEpoch: decodeEpoch(body), isEnded: true };
    case JournalRecordKind.retire:
      return { retiredSeq: decodeRetirement(body).markerSeq };
    case JournalRecordKind.applied:
      return { appliedSeq: decodeApplied(body) };
    case JournalRecordKind.direct:
      return { directSeq: lastSeq };
    case JournalRecordKind.promotionStart:
      return { promotion: { checkpointId: decodePromotion(body), isDone: false } };
    case JournalRecordKind.promotionEnd:
      return { promotion: { checkpointId: decodePromotion(body), isDone: true } };
    default:
      return {};
  }
}
