import { describe, expect, it } from '@jest/globals';
import { isPeerNews } from './news-shape.js';

const ID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const PROTECTION = {
  vpgId: ID, vmId: 'vm', epoch: 1, state: 'replicating', isFenced: false, detail: '', loss: null, sync: null, lagBytes: 0, writtenBytes: 1, writeCount: 1, sentBytes: 1, bytesPerSecond: null, writesPerSecond: 0,
};
const RECOVERY = {
  vpgId: ID, vmId: 'vm', epoch: 1, reservedEpoch: null, state: 'receiving', detail: '', durableSeq: 1, journalBytes: 1, compactedBytes: 0, limits: {}, isAtHardLimit: false, scrub: { completedAtMs: null, detail: '', affectedIds: [] }, pins: [],
  mirrorBytes: 1, receivedRawBytes: 1, receivedBytes: 1, newestCheckpointId: 2, oldestCheckpointId: 1, instance: ID, lastChange: 3,
};
const TASK = {
  taskId: ID, type: 'FailOver', state: 'InProgress', progress: 10, initiatedBy: 'admin', reason: '', related: { vpgIds: [ID], siteIds: [], hostIds: [] }, runnerSiteId: ID, startedAtMs: 1, completedAtMs: null, generation: 1,
};
const VPG = { vpgId: ID, generation: 1, catalogueRevision: 2, protections: [PROTECTION], recoveries: [RECOVERY], newestCheckpointAgeMs: 100, voidReason: null, areVrasAlive: true };
const NEWS = { siteName: 'B', location: '', version: '0.1.0', vpgs: [VPG], removedVpgIds: [], tasks: [TASK] };

describe('what a peer publishes', () => {
  it('is taken in the shape that it has, with fields that nobody knows yet', () => {
    expect(isPeerNews(NEWS)).toBe(true);
    expect(isPeerNews({ ...NEWS, more: 1, vpgs: [{ ...VPG, more: [] }] })).toBe(true);
    const sync = { kind: 'deltaSync', reason: 'asked for', totalBytes: 1, remainingBytes: 1, unverifiedBytes: 0, bytesPerSecond: 1, estimatedMs: null };
    expect(isPeerNews({ ...NEWS, vpgs: [{ ...VPG, protections: [{ ...PROTECTION, sync }] }] })).toBe(true);
  });

  it('is taken with what was lost, and dropped when that has another shape', () => {
    const lossy = (loss: unknown): unknown => ({ ...NEWS, vpgs: [{ ...VPG, protections: [{ ...PROTECTION, loss }] }] });
    expect(isPeerNews(lossy({ count: 1, atMs: 5, detail: 'durable up to 4, acknowledged 9' }))).toBe(true);
    for (const loss of [undefined, 1, { count: '1', atMs: 5, detail: '' }, { count: 1, atMs: 5 }]) expect(isPeerNews(lossy(loss))).toBe(false);
  });

  it.each([
    ['nothing', null], ['a list', []], ['no lists', { siteName: 'B' }], ['VPGs that are none', { ...NEWS, vpgs: [null] }], ['a VPG without protections', { ...NEWS, vpgs: [{ ...VPG, protections: undefined }] }],
    ['a protection that is text', { ...NEWS, vpgs: [{ ...VPG, protections: ['x'] }] }], ['a recovery without scrub', { ...NEWS, vpgs: [{ ...VPG, recoveries: [{ ...RECOVERY, scrub: undefined }] }] }],
    ['a generation that is none', { ...NEWS, vpgs: [{ ...VPG, generation: '1' }] }], ['a task without relations', { ...NEWS, tasks: [{ ...TASK, related: null }] }],
    ['a state that there is not', { ...NEWS, tasks: [{ ...TASK, state: 'Lost' }] }], ['a name of a megabyte', { ...NEWS, siteName: 'x'.repeat(1e6) }], ['more tasks than anybody has', { ...NEWS, tasks: Array(1001).fill(TASK) }],
  ])('is dropped when it is %s', (_what, value) => expect(isPeerNews(value)).toBe(false));
});
