import { describe, expect, it } from '@jest/globals';
import { visualStatus, type StreamFacts, type StreamState, type VpgStatusFacts } from './index.js';

const MiB = 2 ** 20;

export const stream = (state: StreamState, over: Partial<StreamFacts> = {}): StreamFacts => ({ vmName: 'web', state, detail: '', sync: null, ...over });

/** A VPG in the best of health. */
export const facts = (over: Partial<VpgStatusFacts> = {}): VpgStatusFacts => ({
  state: 'protecting', failoverPhase: null, vmCount: 1, hasCheckpoint: true, isPeerConnected: true, silentVras: [], streams: [stream('replicating')],
  recoverings: [{ vmName: 'web', state: 'receiving', detail: '' }], operationPercent: null, voidReason: null,
  rpoMs: 6000, rpoTargetMs: 300_000, historyMs: 3_600_000, historyTargetMs: 86_400_000, recoverableForMs: 3_600_000, ...over,
});

const pairOf = (given: VpgStatusFacts): string => {
  const { status, subStatus } = visualStatus(given);
  return `${status} ${subStatus}`;
};

const FORCED = { kind: 'deltaSync', reason: 'Force Sync', totalBytes: 10, remainingBytes: 5, unverifiedBytes: 5, bytesPerSecond: 1, estimatedMs: 1 } as const;

describe('by state', () => {
  it.each([
    ['creating', null, 'Initializing Creating'],
    ['failingOver', null, 'FailingOver None'],
    ['failingOver', 'starting', 'FailingOver None'],
    ['failingOver', 'beforeCommit', 'FailingOver FailingOverBeforeCommit'],
    ['failingOver', 'committing', 'FailingOver FailingOverCommitting'],
    ['failingOver', 'rollingBack', 'FailingOver FailingOverRollingBack'],
    ['failingOver', 'promoting', 'FailingOver Promoting'],
    ['promoting', null, 'FailingOver Promoting'],
    ['reversing', 'handedOver', 'Initializing Creating'],
    ['needsConfiguration', null, 'NotMeetingSLA NeedsConfiguration'],
    ['deleting', null, 'Deleting Deleting'],
    ['removed', null, 'Deleting Deleting'],
    ['protecting', null, 'MeetingSLA None'],
  ] as const)('%s %s: %s', (state, failoverPhase, pair) => {
    expect(pairOf(facts({ state, failoverPhase }))).toBe(pair);
  });
});

it.each([
  ['starting', 'Moving None'], ['beforeCommit', 'Moving MovingBeforeCommit'], ['committing', 'Moving MovingCommitting'], ['rollingBack', 'Moving MovingRollingBack'],
] as const)('a move, %s: %s', (failoverPhase, pair) => {
  expect(pairOf(facts({ state: 'failingOver', isMove: true, failoverPhase }))).toBe(pair);
});

it('reverse protection that waits for its site is not green', () => {
  expect(pairOf(facts({ state: 'reversing', isPeerConnected: false }))).toBe('NotMeetingSLA DisconnectedFromPeerNoRecoveryPoints');
});

describe('a protecting VPG', () => {
  it.each<[string, Partial<VpgStatusFacts>, string]>([
    ['without VMs', { vmCount: 0 }, 'NotMeetingSLA EmptyProtectionGroup'],
    ['with a broken journal', { recoverings: [{ vmName: 'web', state: 'broken', detail: 'EIO' }] }, 'NotMeetingSLA JournalStorageError'],
    ['with a full journal', { recoverings: [{ vmName: 'web', state: 'full', detail: '' }] }, 'NotMeetingSLA JournalStorageError'],
    ['that is fenced', { streams: [stream('refused')] }, 'NotMeetingSLA Error'],
    ['without the other site', { isPeerConnected: false }, 'NotMeetingSLA DisconnectedFromPeer'],
    ['without the other site, before the first checkpoint', { isPeerConnected: false, hasCheckpoint: false }, 'NotMeetingSLA DisconnectedFromPeerNoRecoveryPoints'],
    ['with a silent VRA', { silentVras: ['Z-VRA-h1'] }, 'NotMeetingSLA DisconnectedFromPeer'],
    ['whose stream lost its link', { streams: [stream('connecting')] }, 'NotMeetingSLA DisconnectedFromPeer'],
    ['that connects for the first time', { streams: [stream('connecting')], hasCheckpoint: false }, 'Initializing InitialSync'],
    ['in its initial sync', { streams: [stream('initialSync')], hasCheckpoint: false, rpoMs: null, historyMs: null }, 'Initializing InitialSync'],
    ['that must copy all again', { streams: [stream('initialSync')] }, 'NotMeetingSLA VolumeFullSync'],
    ['whose VM got another disk', { streams: [stream('bitmapSync', { sync: { ...FORCED, kind: 'bitmapSync', reason: 'VPG Configuration Changed' } })] }, 'MeetingSLA VolumeInitialSync'],
    ['in a delta sync', { streams: [stream('deltaSync')] }, 'NotMeetingSLA DeltaSync'],
    ['in a delta sync that a user asked for', { streams: [stream('deltaSync', { sync: FORCED })] }, 'MeetingSLA DeltaSync'],
    ['in a forced delta sync beside another', { streams: [stream('deltaSync', { sync: FORCED }), stream('deltaSync', { sync: { ...FORCED, reason: 'Protected VRA Restarted' } })] }, 'NotMeetingSLA DeltaSync'],
    ['that a user has paused', { isPausedByUser: true, streams: [stream('paused')] }, 'MeetingSLA ReplicationPausedUserInitiated'],
    ['that a user has paused for long', { isPausedByUser: true, rpoMs: 400_000 }, 'RpoNotMeetingSLA ReplicationPausedUserInitiated'],
    ['that a user has paused before its first checkpoint', { isPausedByUser: true, hasCheckpoint: false }, 'NotMeetingSLA ReplicationPausedUserInitiated'],
    ['that is paused and has a broken journal', { isPausedByUser: true, recoverings: [{ vmName: 'web', state: 'broken', detail: 'EIO' }] }, 'NotMeetingSLA JournalStorageError'],
    ['in a bitmap sync, RPO still fine', { streams: [stream('bitmapSync')] }, 'MeetingSLA BitmapSync'],
    ['in a bitmap sync for long', { streams: [stream('bitmapSync')], rpoMs: 400_000 }, 'RpoNotMeetingSLA BitmapSync'],
    ['that pauses', { streams: [stream('paused')] }, 'MeetingSLA ReplicationPausedSystemInitiated'],
    ['that waits for its first checkpoint', { hasCheckpoint: false, rpoMs: null, historyMs: null }, 'Initializing Sync'],
    ['above its RPO', { rpoMs: 300_001 }, 'RpoNotMeetingSLA None'],
    ['with an unknown RPO', { rpoMs: null }, 'RpoNotMeetingSLA None'],
    ['with too little history', { historyMs: 2_000_000 }, 'HistoryNotMeetingSLA None'],
    ['with neither', { rpoMs: 300_001, historyMs: null }, 'NotMeetingSLA None'],
    ['as young as its history', { historyMs: 60_000, recoverableForMs: 61_000 }, 'MeetingSLA None'],
    ['of unknown age', { recoverableForMs: null }, 'HistoryNotMeetingSLA None'],
  ])('%s', (_, over, pair) => expect(pairOf(facts(over))).toBe(pair));

  it('tells the worst of several VMs', () => {
    expect(pairOf(facts({ streams: [stream('replicating'), stream('bitmapSync'), stream('failed')] }))).toBe('NotMeetingSLA Error');
    expect(pairOf(facts({ streams: [stream('bitmapSync'), stream('deltaSync')] }))).toBe('NotMeetingSLA DeltaSync');
  });

  it('says how far a sync is, why, and until when', () => {
    const sync = (remaining: number) => ({ ...FORCED, reason: 'new volume', totalBytes: 100 * MiB, remainingBytes: remaining * MiB, estimatedMs: remaining * 100 });
    const { description, progressPercent } = visualStatus(facts({
      hasCheckpoint: false, streams: [stream('initialSync', { sync: sync(20) }), stream('initialSync', { sync: sync(80) })],
    }));
    expect(progressPercent).toBeCloseTo(50);
    expect(description).toBe('initial sync (new volume; 100.0 MiB left, about 8 s)');
  });

  it('does not promise an end that it does not know', () => {
    const sync = { ...FORCED, reason: '', totalBytes: MiB, remainingBytes: MiB, estimatedMs: null };
    expect(visualStatus(facts({ streams: [stream('bitmapSync', { sync })] })).description).toBe('bitmap sync (1.0 MiB left)');
  });

  it('names what is wrong', () => {
    expect(visualStatus(facts({ silentVras: ['Z-VRA-h1', 'Z-VRA-h2'] })).description).toBe('no answer from Z-VRA-h1, Z-VRA-h2');
    expect(visualStatus(facts({ streams: [stream('failed', { detail: 'epoch 2 is newer' })] })).description).toBe('replication of web has failed: epoch 2 is newer');
    expect(visualStatus(facts({ rpoMs: 400_000 })).description).toBe('RPO 400 s, target 300 s; history 60 min, target 1440 min');
    expect(visualStatus(facts()).description).toBe('');
  });
});

it('says why no checkpoint comes once the RPO is missed, or none has come yet', () => {
  const voidReason = "no answer of VRA 'Z-VRA-h2'";
  expect(visualStatus(facts({ voidReason })).description).toBe('');
  expect(visualStatus(facts({ voidReason, rpoMs: 400_000 })).description).toMatch(/^RPO 400 s, target 300 s; the newest checkpoint was given up: no answer of VRA 'Z-VRA-h2'; history/);
  expect(visualStatus(facts({ voidReason, hasCheckpoint: false, rpoMs: null })).description).toBe("waiting for the first checkpoint: no answer of VRA 'Z-VRA-h2'");
});
