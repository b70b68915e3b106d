import { VPG_VMS_MAX } from '../peer/vpg-record.js';
import { type Answer, answerOf } from '../shape/answer.js';
import { count, flag, instant, list, number, oneOf, orNull, shaped, text, wholeFrom } from '../shape/checks.js';
import type { CheckpointDisksV1, CheckpointInsertedV1, CheckpointListingV1, JournalCheckpointV1, ProtectionSettledV1 } from './commands.js';
import type { VraStatusV1 } from './status.js';
import { vraStatus } from './status-shape.js';

/** Of one VM, removed disks included. */
const VOLUMES_MAX = 64;
/** A VRA makes its pages a little shorter than this. */
const LISTED_MAX = 10_000;
/** Of its tag as it was asked for, with room for what a later version may add. */
const TAG_LENGTH_MAX = 400;

const id = text(200);
const checkpointId = wholeFrom(1);

const checkpoint = shaped<JournalCheckpointV1>({
  checkpointId, epoch: count, term: wholeFrom(0), vmIds: list(id, VPG_VMS_MAX), atMs: instant, ageMs: number, tag: orNull(text(TAG_LENGTH_MAX)), kind: oneOf('automatic', 'tagged', 'applicationConsistent'),
});

export const fingerprints = list(id, VOLUMES_MAX);

export const CHECKPOINT_INSERTED: Answer<CheckpointInsertedV1> = answerOf(shaped<CheckpointInsertedV1>({ checkpointId }));
export const CHECKPOINT_LISTING: Answer<CheckpointListingV1> = answerOf(shaped<CheckpointListingV1>({
  instance: id, lastChange: wholeFrom(0), isWhole: flag, isMore: flag, held: list(checkpoint, LISTED_MAX), dropped: list(checkpointId, LISTED_MAX),
}));
export const CHECKPOINT_DISKS: Answer<CheckpointDisksV1> = answerOf(shaped<CheckpointDisksV1>({
  disks: list(shaped<CheckpointDisksV1['disks'][number]>({ volume: count, diskId: text(64), sizeBytes: wholeFrom(1) }), VOLUMES_MAX),
}));
export const PROTECTION_SETTLED: Answer<ProtectionSettledV1> = answerOf(shaped<ProtectionSettledV1>({ fingerprints }));
export const VRA_STATUS: Answer<VraStatusV1> = answerOf(vraStatus);
