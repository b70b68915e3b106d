import { describe, expect, it } from '@jest/globals';
import { syncSummary, type StreamFacts } from './index.js';

type Sync = NonNullable<StreamFacts['sync']>;
const stream = (over: Partial<Sync>): StreamFacts => ({
  vmName: 'web', state: 'bitmapSync', detail: '',
  sync: { kind: 'bitmapSync', reason: 'Network Congestion', totalBytes: 100, remainingBytes: 40, unverifiedBytes: 0, bytesPerSecond: 10, estimatedMs: 4000, ...over },
});
const IDLE: StreamFacts = { vmName: 'db', state: 'replicating', detail: '', sync: null };

describe('syncSummary', () => {
  it('adds up, names every reason once, and ends with the last one', () => {
    const syncs = [stream({}), stream({ kind: 'deltaSync', reason: 'Force Sync', unverifiedBytes: 30, estimatedMs: 9000 }), stream({}), IDLE];
    expect(syncSummary(syncs, { hasCheckpoint: true })).toEqual({
      kind: 'DeltaSync', reason: 'Network Congestion; Force Sync', totalBytes: 300, bytesLeft: 120, bytesToCompare: 30, bytesPerSecond: 30, estimatedMs: 9000,
    });
  });

  it.each<[string, Partial<Sync>[], boolean, string | undefined]>([
    ['none', [], true, undefined],
    ['disks added to a VPG that can be recovered', [{ reason: 'VPG Configuration Changed' }], true, 'VolumeInitialSync'],
    ['disks added before anything can be recovered', [{ reason: 'VPG Configuration Changed' }], false, 'BitmapSync'],
    ['an initial sync beside another', [{}, { kind: 'initialSync' }], true, 'InitialSync'],
  ])('%s', (_, syncs, hasCheckpoint, kind) => {
    expect(syncSummary(syncs.map(stream), { hasCheckpoint })?.kind).toBe(kind);
  });

  it('knows no end before each one does', () => {
    expect(syncSummary([stream({}), stream({ estimatedMs: null })], { hasCheckpoint: true })?.estimatedMs).toBeNull();
  });
});
