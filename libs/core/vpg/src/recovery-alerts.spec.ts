import { describe, expect, it } from '@jest/globals';
import { GiB } from '@tidemark/base';
import { recoveryAlertsFor, type HistoryFacts, type JournalFacts, type RecoveryAlertFacts } from './recovery-alerts.js';

const NONE: RecoveryAlertFacts = { journals: [], scratches: [], datastores: [], histories: [], clocks: [], clockDoubts: [] };
const LIMITS = { journalHardBytes: 10 * GiB, journalWarningBytes: 7 * GiB, scratchHardBytes: null, scratchWarningBytes: null };
const journal = (more: Partial<JournalFacts>): RecoveryAlertFacts => ({
  ...NONE,
  journals: [{ vpgId: 'v', vpgName: 'App', vmId: 'vm', vmName: 'db', state: 'receiving', detail: '', journalBytes: GiB, limits: LIMITS, isAtHardLimit: false, scrub: { detail: '', affectedIds: [] }, pins: [], ...more }],
});
const DOUBT = { vraId: 'id', vraName: 'vra-b1', byMs: -2 * 86_400_000, atMs: Date.UTC(2026, 10, 20, 15) };
const history = (more: Partial<HistoryFacts>): RecoveryAlertFacts => ({
  ...NONE, histories: [{ vpgId: 'v', name: 'App', isReplicating: true, historyMs: 0, historyTargetMs: 100 * 60_000, recoverableForMs: 1e9, ...more }],
});

describe('alerts of the recovery side', () => {
  it.each<[string, RecoveryAlertFacts, readonly string[]]>([
    ['a journal below its warning', journal({ journalBytes: 7 * GiB - 1 }), []],
    ['a journal at its warning', journal({ journalBytes: 7 * GiB }), ['VRA0040']],
    ['a journal without limits', journal({ journalBytes: 700 * GiB, limits: { ...LIMITS, journalHardBytes: null, journalWarningBytes: null } }), []],
    ['a journal at its hard limit with only the newest checkpoint left', journal({ journalBytes: 10 * GiB, isAtHardLimit: true }), ['VRA0039', 'VPG0007']],
    ['a broken journal', journal({ state: 'broken', detail: 'EIO' }), ['VRA0007']],
    ['a full scratch', { ...NONE, scratches: [{ vpgId: 'v', vmName: 'db', viewId: 'x', scratchBytes: 5, isScratchFull: true, warningBytes: 4 }] }, ['TDM0004']],
    ['a scratch above its warning', { ...NONE, scratches: [{ vpgId: 'v', vmName: 'db', viewId: 'x', scratchBytes: 5, isScratchFull: false, warningBytes: 4 }] }, ['TDM0005']],
    ['a datastore at its guard', { ...NONE, datastores: [{ path: '/d', freeBytes: GiB, guardBytes: GiB, vpgIds: ['v'] }] }, ['VRA0006']],
    ['a datastore with room', { ...NONE, datastores: [{ path: '/d', freeBytes: GiB + 1, guardBytes: GiB, vpgIds: ['v'] }] }, []],
    ['damage that the scrub found', journal({ scrub: { detail: 'record 7', affectedIds: [1, 2] } }), ['TDM0002']],
    ['a clock a second off', { ...NONE, clocks: [{ vpgId: 'v', vraName: 'a', clockOffsetMs: -1000 }] }, []],
    ['a clock further off', { ...NONE, clocks: [{ vpgId: 'v', vraName: 'a', clockOffsetMs: -1001 }] }, ['TDM0001']],
    ['a clock that stepped', { ...NONE, clockDoubts: [{ ...DOUBT, vpgIds: ['v'] }] }, ['TDM0003']],
    ['a clock that stepped where nothing is recovered', { ...NONE, clockDoubts: [{ ...DOUBT, vpgIds: [] }] }, []],
    ['three quarters of the history', history({ historyMs: 75 * 60_000 }), []],
    ['less', history({ historyMs: 74 * 60_000 }), ['VPG0037']],
    ['less than half', history({ historyMs: 49 * 60_000 }), ['VPG0038']],
    ['a young VPG', history({ historyMs: 9 * 60_000, recoverableForMs: 10 * 60_000 }), []],
    ['a VPG that fails over', history({ historyMs: 0, isReplicating: false }), []],
  ])('%s', (_name, facts, ids) => {
    expect(recoveryAlertsFor(facts).map(({ helpIdentifier }) => helpIdentifier)).toEqual(ids);
  });

  it('name the VRA whose clock stepped, how far, and from when on ages are trusted again', () => {
    const [found] = recoveryAlertsFor({ ...NONE, clockDoubts: [{ ...DOUBT, vpgIds: ['v', 'w'] }] });
    expect(found).toMatchObject({ subject: 'id', vpgIds: ['v', 'w'] });
    expect(found?.description).toContain("the wall clock of VRA 'vra-b1' went 2 days back against its running time (it then said 2026-11-20T15:00Z)");
    expect(found?.description).toContain('until both have agreed for an hour');
  });

  it('names the pin that keeps the most when a journal has no room', () => {
    const pins = [{ name: 'verify', checkpointId: 90 }, { name: 'audit', checkpointId: 7 }];
    for (const full of [{ isAtHardLimit: true }, { journalBytes: 8 * GiB }]) {
      expect(recoveryAlertsFor(journal({ ...full, pins }))[0]?.description).toMatch(/; pin 'audit' keeps everything from checkpoint 7 on: drop it, or raise the limit$/);
      expect(recoveryAlertsFor(journal(full))[0]?.description).not.toContain('pin');
    }
  });
});
