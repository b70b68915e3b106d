import { unreachable } from '@tidemark/base';
import { decodeMarker, decodeSeal, type FrameHeader, isVolumeRecord, RecordType, type StreamRecord } from '@tidemark/frame';
import { attempt, isMarked, SESSION_CHARACTERS_MAX, type JournalSnapshot } from './control-bodies.js';
import { JournalError } from './journal-error.js';
import type { JournalState } from './types.js';
import type { VolumeWish } from './volume-set.js';

/** What the journal takes and what it refuses, as functions of its state. `tail`: what the state will be when all that was taken in is durable. */

export function phaseError({ phase, reason }: JournalState, tail: JournalSnapshot): JournalError | undefined {
  if (tail.isEnded) return new JournalError('JOURNAL_ENDED', 'a failover was committed: the history is closed');
  switch (phase) {
    case 'open':
      return undefined;
    case 'full':
      return new JournalError('JOURNAL_FULL', reason);
    case 'broken':
      return new JournalError('JOURNAL_BROKEN', reason);
    case 'ended':
      return new JournalError('JOURNAL_ENDED', reason);
    default:
      return unreachable(phase);
  }
}

export const staleEpochError = (epoch: number, tail: JournalSnapshot): JournalError | undefined =>
  epoch === tail.epoch ? undefined : new JournalError('JOURNAL_FENCED', `epoch ${epoch}, the journal is at ${tail.epoch}`);

/** A frame follows the one before; only the first one of an incarnation may leave a gap. */
export function orderError(header: FrameHeader, tail: JournalSnapshot, isFirstFrame: boolean): JournalError | undefined {
  const { incarnation, lastSeq } = tail;
  if (header.incarnation !== incarnation || incarnation === 0) {
    return new JournalError('JOURNAL_FENCED', `frame of incarnation ${header.incarnation}, the journal is at ${incarnation}`);
  }
  const epochWrong = staleEpochError(header.epoch, tail);
  if (epochWrong !== undefined) return epochWrong;
  const isNext = isFirstFrame ? header.firstSeq > lastSeq : header.firstSeq === lastSeq + 1;
  if (isNext) return undefined;
  return new JournalError('JOURNAL_ORDER', `frame starts at ${header.firstSeq}, the journal ends at ${lastSeq}`);
}

/** What a scan could not read back, or an apply not write, must not get in. */
export function recordsError(header: FrameHeader, records: readonly StreamRecord[], volumes: readonly VolumeWish[]): JournalError | undefined {
  if (records.length === 0 || records.length !== header.count || header.lastSeq - header.firstSeq + 1 !== header.count) {
    return new JournalError('JOURNAL_ORDER', 'frame header and records do not agree');
  }
  const wrong = records.find((record) => !isSound(record, volumes));
  return wrong === undefined ? undefined : new JournalError('JOURNAL_ORDER', `record of type ${wrong.type} outside its volume or undecodable`);
}

function isSound(record: StreamRecord, volumes: readonly VolumeWish[]): boolean {
  if (isVolumeRecord(record.type)) return record.offset + record.length <= (volumes[record.volume]?.sizeBytes ?? -1);
  const { payload } = record;
  if (record.type === RecordType.marker) return payload !== undefined && attempt(() => decodeMarker(payload)) !== undefined;
  if (record.type === RecordType.seal) return payload !== undefined && attempt(() => decodeSeal(payload)) !== undefined;
  return true;
}

export const sessionError = (sessionId: string): JournalError | undefined =>
  sessionId.length > 0 && sessionId.length <= SESSION_CHARACTERS_MAX && !isMarked(sessionId) ? undefined : new JournalError('JOURNAL_ORDER', 'session id empty, above 200 characters or with the mark of a new generation');

/** Reserve, then commit or burn; a number is used once. Repeating a step that was taken is right. */
export function epochStepError(step: 'reserveEpoch' | 'commitEpoch' | 'burnEpoch', epoch: number, tail: JournalSnapshot): JournalError | undefined {
  const { reservedEpoch, highestEpoch, isEnded } = tail;
  if (isEnded) return step === 'commitEpoch' && epoch === tail.epoch ? undefined : new JournalError('JOURNAL_ENDED', 'a failover was committed');
  switch (step) {
    case 'reserveEpoch':
      if (reservedEpoch === epoch) return undefined;
      if (reservedEpoch !== null) return wrongEpoch(`epoch ${reservedEpoch} is reserved already`);
      return epoch > highestEpoch ? undefined : wrongEpoch(`epoch ${epoch} was used: the next is above ${highestEpoch}`);
    case 'commitEpoch':
      return reservedEpoch === epoch ? undefined : wrongEpoch(`epoch ${epoch} is not reserved`);
    case 'burnEpoch':
      return reservedEpoch === null || reservedEpoch === epoch ? undefined : wrongEpoch(`epoch ${reservedEpoch} is reserved, not ${epoch}`);
    default:
      return unreachable(step);
  }
}

const wrongEpoch = (message: string): JournalError => new JournalError('JOURNAL_EPOCH', message);
