import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { VPG_STATES, visualStatus, type RecoveringState, type StreamState, type VpgStatusFacts } from './index.js';

const STREAMS: readonly StreamState[] = ['connecting', 'initialSync', 'deltaSync', 'bitmapSync', 'replicating', 'paused', 'refused', 'failed'];
const RECOVERINGS: readonly RecoveringState[] = ['waiting', 'initialSync', 'syncing', 'receiving', 'full', 'broken', 'ended'];
const ms = fc.option(fc.integer({ min: 0, max: 1e9 }), { nil: null });

const sync = fc.record({
  kind: fc.constantFrom('initialSync' as const, 'deltaSync' as const, 'bitmapSync' as const), unverifiedBytes: fc.nat(), bytesPerSecond: fc.nat(),
  reason: fc.oneof(fc.string(), fc.constant('VPG Configuration Changed')), totalBytes: fc.nat(), remainingBytes: fc.nat(), estimatedMs: ms });
const anyFacts: fc.Arbitrary<VpgStatusFacts> = fc.record({
  state: fc.constantFrom(...VPG_STATES),
  failoverPhase: fc.constantFrom('starting' as const, 'beforeCommit' as const, 'committing' as const, 'rollingBack' as const, 'promoting' as const, 'handedOver' as const, null),
  isMove: fc.boolean(),
  vmCount: fc.nat(3),
  hasCheckpoint: fc.boolean(),
  isPeerConnected: fc.boolean(),
  silentVras: fc.array(fc.string(), { maxLength: 2 }),
  streams: fc.array(fc.record({ vmName: fc.string(), state: fc.constantFrom(...STREAMS), detail: fc.string(), sync: fc.option(sync, { nil: null }) }), { maxLength: 3 }),
  recoverings: fc.array(fc.record({ vmName: fc.string(), state: fc.constantFrom(...RECOVERINGS), detail: fc.string() }), { maxLength: 3 }),
  voidReason: fc.option(fc.string(), { nil: null }),
  operationPercent: fc.option(fc.nat(100), { nil: null }),
  rpoMs: ms, rpoTargetMs: fc.integer({ min: 60_000, max: 1e9 }), historyMs: ms, historyTargetMs: fc.integer({ min: 3_600_000, max: 1e9 }), recoverableForMs: ms,
});

/** Reference §3.4: the pairs that users of the API know; FailingOver None is ours, for the time before the VMs run. */
const SLA = ['None', 'BitmapSync', 'VolumeInitialSync', 'ReplicationPausedSystemInitiated'];
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  Initializing: ['Creating', 'InitialSync', 'Sync'],
  MeetingSLA: SLA,
  RpoNotMeetingSLA: SLA,
  HistoryNotMeetingSLA: SLA,
  NotMeetingSLA: [
    ...SLA, 'DeltaSync', 'Error', 'JournalStorageError', 'NeedsConfiguration', 'DisconnectedFromPeer', 'DisconnectedFromPeerNoRecoveryPoints', 'VolumeFullSync',
    'EmptyProtectionGroup',
  ],
  FailingOver: ['None', 'FailingOverCommitting', 'FailingOverBeforeCommit', 'FailingOverRollingBack', 'Promoting'],
  Moving: ['None', 'MovingCommitting', 'MovingBeforeCommit', 'MovingRollingBack', 'Promoting'],
  Deleting: ['Deleting'],
};

describe('visualStatus', () => {
  it('shows allowed pairs only, and says something about everything that is not well', () => {
    fc.assert(fc.property(anyFacts, (facts) => {
      const { status, subStatus, description, progressPercent } = visualStatus(facts);
      expect(ALLOWED[status]).toContain(subStatus);
      expect(progressPercent >= 0 && progressPercent <= 100).toBe(true);
      if (status !== 'MeetingSLA' || subStatus !== 'None') expect(description).not.toBe('');
    }), { numRuns: 2000 });
  });

  it('is green only when everything has been heard of and is in order', () => {
    fc.assert(fc.property(anyFacts, (facts) => {
      if (visualStatus(facts).status !== 'MeetingSLA') return;
      expect([facts.state, facts.isPeerConnected, facts.silentVras.length, facts.hasCheckpoint]).toEqual(['protecting', true, 0, true]);
      expect(facts.vmCount).toBeGreaterThan(0);
      expect(facts.rpoMs !== null && facts.rpoMs <= facts.rpoTargetMs).toBe(true);
      expect(facts.historyMs).not.toBeNull();
      expect(facts.streams.every(({ state }) => ['replicating', 'bitmapSync', 'paused'].includes(state))).toBe(true);
      expect(facts.recoverings.every(({ state }) => !['full', 'broken', 'ended'].includes(state))).toBe(true);
    }), { numRuns: 20_000 });
  });

  it('never gets greener when the link or a VRA is lost, or an RPO forgotten', () => {
    fc.assert(fc.property(anyFacts, (facts) => {
      const isGreen = (given: VpgStatusFacts): boolean => visualStatus(given).status === 'MeetingSLA';
      for (const worse of [{ isPeerConnected: false }, { silentVras: ['v'] }, { rpoMs: null }, { historyMs: null }]) {
        if (!isGreen(facts)) expect(isGreen({ ...facts, ...worse })).toBe(false);
      }
    }));
  });
});
