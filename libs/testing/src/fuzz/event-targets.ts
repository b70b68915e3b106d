import { isPeerNews, isVbaStatus, isVraStatus, type PeerNewsV1, type ProtectionStatusV1, type RecoveryStatusV1, type VbaStatusV1, type VraStatusV1 } from '@tidemark/contracts';
import { mutatedJson } from './mutate.js';
import { FuzzViolation, type FuzzTarget } from './target.js';

const ID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const PROTECTION: ProtectionStatusV1 = {
  vpgId: ID, vmId: 'vm', epoch: 1, state: 'deltaSync', isFenced: false, detail: '', lagBytes: 0, writtenBytes: 1, writeCount: 1, sentBytes: 1, bytesPerSecond: 1, writesPerSecond: 0, loss: null,
  sync: { kind: 'deltaSync', reason: 'asked for', totalBytes: 1, remainingBytes: 1, unverifiedBytes: 0, bytesPerSecond: 1, estimatedMs: null },
};
const RECOVERY: RecoveryStatusV1 = {
  vpgId: ID, vmId: 'vm', epoch: 1, reservedEpoch: null, state: 'receiving', detail: '', durableSeq: 1, journalBytes: 1, compactedBytes: 0, limits: { journalHardBytes: null, journalWarningBytes: 1, scratchHardBytes: null, scratchWarningBytes: null },
  isAtHardLimit: false, scrub: { completedAtMs: null, detail: '', affectedIds: [4] }, pins: [{ name: 'backup', checkpointId: 4, keepForMs: 1 }], mirrorBytes: 1, receivedRawBytes: 1, receivedBytes: 1, newestCheckpointId: 2,
  oldestCheckpointId: null, instance: ID, lastChange: 3,
};
const NEWS: PeerNewsV1 = {
  siteName: 'B', location: '', version: '0.1.0', removedVpgIds: [ID], tasks: [{
    taskId: ID, type: 'FailOver', state: 'InProgress', progress: 1, initiatedBy: 'a', reason: '', related: { vpgIds: [ID], siteIds: [], hostIds: [] }, runnerSiteId: ID, startedAtMs: 1, completedAtMs: null, generation: 1,
  }],
  vpgs: [{ vpgId: ID, generation: 1, catalogueRevision: 1, newestCheckpointAgeMs: 1, voidReason: null, areVrasAlive: true, protections: [PROTECTION], recoveries: [RECOVERY] }],
};
const IDENTITY = { notBeforeMs: 1, notAfterMs: 2, signedBy: 'AA:BB', trusts: ['AA:BB'] };
/** A good one. */
export const VRA_STATUS_SAMPLE: VraStatusV1 = {
  vraId: '7', hostId: 'h', version: '0.1.0', address: '127.0.0.1', startedAtMs: 1, identity: IDENTITY, revision: 1, attachedVmIds: ['vm'], unreachableDisks: [{ vmId: 'vm', diskId: 'd', path: 'nbd://h:10809/d', sinceMs: 1, reason: 'gone' }], protections: [PROTECTION], recoveries: [RECOVERY],
  views: [{ viewId: ID, vpgId: ID, vmId: 'vm', checkpointId: 4, state: 'open', detail: '', isScratchFull: false, scratchBytes: 0, promotedBytes: 0, totalBytes: 1 }],
  barriers: [{ vpgId: ID, version: 1, leaderVraId: '7', term: 1, holdMsP50: 1, holdMsP99: 1, holdMsMax: 1, lastVoidReason: null, clockOffsetMs: 0, voidCount: 0, sealedCount: 0 }],
  datastores: [{ path: '/d', capacityBytes: 2, freeBytes: 1, guardBytes: 0 }], outbound: { bytesPerSecondMax: null, isThrottled: false, bytesPerSecond: 0 }, clockDoubt: { byMs: 1, atMs: 1, endsInMs: 1 },
};
const VBA: VbaStatusV1 = { vbaId: '3', hostId: 'h', version: '0.1.0', address: '127.0.0.1', startedAtMs: 1, identity: IDENTITY };

/** By the name of its check; for whoever looks whether one is missing, each with one that is good. */
export const fuzzedEvents: ReadonlyMap<string, readonly [(value: unknown) => boolean, object]> = new Map([['isPeerNews', [isPeerNews, NEWS]], ['isVraStatus', [isVraStatus, VRA_STATUS_SAMPLE]], ['isVbaStatus', [isVbaStatus, VBA]]]);

/** What is taken is worked with by everybody: nothing in it may be of another kind than it says, and every date can be shown. */
function workWith({ protections, recoveries }: Pick<VraStatusV1, 'protections' | 'recoveries'>): void {
  for (const { vpgId, vmId, detail, epoch, sync } of protections) {
    if (`${vpgId}${vmId}${detail}${sync?.reason.trim() ?? ''}`.includes('\0') || vpgId.length !== 36 || !Number.isInteger(epoch)) throw new FuzzViolation('a protection without a name or an epoch was taken');
  }
  for (const { vpgId, scrub, pins, limits } of recoveries) {
    if (scrub.completedAtMs !== null) new Date(scrub.completedAtMs).toISOString();
    if (vpgId.length !== 36 || pins.some(({ name }) => name.length > 200) || scrub.affectedIds.length > 5000 || typeof (limits.journalHardBytes ?? 0) !== 'number') throw new FuzzViolation('a recovery with endless lists was taken');
  }
}

function workWithStatus(value: unknown): void {
  if (isPeerNews(value)) {
    for (const vpg of value.vpgs) workWith(vpg);
    for (const task of value.tasks) if (task.related.vpgIds.some((vpgId) => vpgId.length > 200) || task.reason.length > 4000) throw new FuzzViolation('a task with an endless text was taken');
  } else if (isVraStatus(value)) {
    workWith(value);
    for (const { state, detail, viewId } of value.views) if (!['open', 'promoting', 'promoted', 'failed'].includes(state) || detail.length > 4000 || viewId.length !== 36) throw new FuzzViolation('a view that is none was taken');
    for (const { sinceMs, path, reason } of value.unreachableDisks) if (`${new Date(sinceMs).toISOString()}${path}${reason}`.includes('\0') || path.length > 4096) throw new FuzzViolation('a disk without a place was taken');
    if (value.clockDoubt) new Date(value.clockDoubt.atMs).toISOString();
    new Date(value.startedAtMs).toISOString();
  } else if (isVbaStatus(value)) {
    new Date(value.identity.notAfterMs).toISOString();
    if (value.identity.trusts.some((print) => print.length > 200)) throw new FuzzViolation('a certificate with an endless name was taken');
  }
}

/** Events of peers, VRAs and VBAs, which nobody answers: taken only in a shape that can be worked with. */
const events: FuzzTarget = {
  name: 'events',
  gateCount: 600,
  run(random) {
    const [, sample] = random.pick([...fuzzedEvents.values()]);
    let value: unknown;
    try {
      value = JSON.parse(mutatedJson(sample, random));
    } catch {
      return;
    }
    workWithStatus(value);
  },
};

export const EVENT_TARGETS: readonly FuzzTarget[] = [events];
