import { type Check, flag, instant, list, number, oneOf, orAbsent, orNull, shaped, text, uuid, whole } from '../shape/checks.js';
import type {
  BarrierStatusV1, ClockDoubtV1, DatastoreStatusV1, IdentityStatusV1, LossStatusV1, OutboundStatusV1, ProtectionStatusV1, RecoveryStatusV1, SyncProgressV1, UnreachableDiskV1, ViewStatusV1, VraStatusV1,
} from './status.js';

/** One VRA carries 1500 volumes, so fewer VMs than that; the same for what it recovers. */
const VMS_MAX = 5000;
const VIEWS_MAX = 5000;
const DISKS_MAX = 1500;
const DATASTORES_MAX = 1000;
/** Four of each of 256 sites. */
const TRUSTED_CAS_MAX = 1024;
const CHECKPOINTS_MAX = 5000;

const id = text(200);
const words = text(4000);

const sync = shaped<SyncProgressV1>({
  kind: oneOf('initialSync', 'deltaSync', 'bitmapSync'), reason: words, totalBytes: number, remainingBytes: number, unverifiedBytes: number, bytesPerSecond: number, estimatedMs: number,
});

const loss = shaped<LossStatusV1>({ count: whole, atMs: instant, detail: words });

/** {@link ProtectionStatusV1}, of an own VRA or told by a peer. */
export const protectionStatus = shaped<ProtectionStatusV1>({
  vpgId: uuid, vmId: id, epoch: whole, state: text(50), isFenced: flag, detail: words, loss: orNull(loss), sync: orNull(sync), lagBytes: number, writtenBytes: number, writeCount: number, sentBytes: number,
  bytesPerSecond: number, writesPerSecond: number,
});

/** Without limits there are none. */
const limits = shaped<RecoveryStatusV1['limits']>({
  journalHardBytes: orAbsent(number), journalWarningBytes: orAbsent(number), scratchHardBytes: orAbsent(number), scratchWarningBytes: orAbsent(number),
});

/** {@link RecoveryStatusV1}, of an own VRA or told by a peer. */
export const recoveryStatus = shaped<RecoveryStatusV1>({
  vpgId: uuid, vmId: id, epoch: whole, reservedEpoch: orNull(whole), state: text(50), detail: words, durableSeq: number, journalBytes: number, compactedBytes: number, limits, isAtHardLimit: flag,
  scrub: shaped<RecoveryStatusV1['scrub']>({ completedAtMs: orNull(instant), detail: words, affectedIds: list(number, CHECKPOINTS_MAX) }),
  pins: list(shaped<RecoveryStatusV1['pins'][number]>({ name: id, checkpointId: number, keepForMs: number }), CHECKPOINTS_MAX),
  mirrorBytes: number, receivedRawBytes: number, receivedBytes: number, newestCheckpointId: number, oldestCheckpointId: number, instance: id, lastChange: number,
});

const view = shaped<ViewStatusV1>({
  viewId: uuid, vpgId: uuid, vmId: id, checkpointId: whole, state: oneOf('open', 'promoting', 'promoted', 'failed'), detail: words, isScratchFull: flag, scratchBytes: number, promotedBytes: number, totalBytes: number,
});
const barrier = shaped<BarrierStatusV1>({
  vpgId: uuid, version: whole, leaderVraId: orNull(text(64)), term: number, holdMsP50: number, holdMsP99: number, holdMsMax: number, lastVoidReason: orNull(words), clockOffsetMs: number, voidCount: number, sealedCount: number,
});
const datastore = shaped<DatastoreStatusV1>({ path: text(4096), capacityBytes: number, freeBytes: number, guardBytes: number });
const unreachableDisk = shaped<UnreachableDiskV1>({ vmId: id, diskId: id, path: text(4096), sinceMs: instant, reason: words });
const clockDoubt = shaped<ClockDoubtV1>({ byMs: number, atMs: instant, endsInMs: number });
const outbound = shaped<OutboundStatusV1>({ bytesPerSecondMax: number, isThrottled: flag, bytesPerSecond: number });

export const identityStatus: Check = shaped<IdentityStatusV1>({ notBeforeMs: instant, notAfterMs: instant, signedBy: id, trusts: list(id, TRUSTED_CAS_MAX) });

/** {@link VraStatusV1}. */
export const vraStatus = shaped<VraStatusV1>({
  vraId: text(64), hostId: id, version: text(50), address: text(255), startedAtMs: instant, identity: identityStatus, revision: whole, attachedVmIds: list(id, VMS_MAX), unreachableDisks: list(unreachableDisk, DISKS_MAX), protections: list(protectionStatus, VMS_MAX),
  recoveries: list(recoveryStatus, VMS_MAX), views: list(view, VIEWS_MAX), barriers: list(barrier, VMS_MAX), datastores: list(datastore, DATASTORES_MAX), outbound, clockDoubt: orNull(clockDoubt),
});

/** Whether what a VRA published, or answered, can be worked with whole: one element that cannot is enough to refuse it. */
export const isVraStatus = (value: unknown): value is VraStatusV1 => vraStatus(value);
