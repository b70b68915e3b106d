import { describe, expect, it } from '@jest/globals';
import { PLANS, type PlanKind, type StepName } from './index.js';

const KINDS = Object.keys(PLANS) as PlanKind[];
const namesOf = (kind: PlanKind): StepName[] => PLANS[kind].map(({ name }) => name);

/** The named steps come in this order. */
function expectOrder(kind: PlanKind, ...order: StepName[]): void {
  const positions = order.map((name) => namesOf(kind).indexOf(name));
  expect(positions).not.toContain(-1);
  expect(positions).toEqual([...positions].sort((a, b) => a - b));
}

describe('every plan', () => {
  it.each(KINDS)('%s: has steps, each name once, weights above 0', (kind) => {
    expect(PLANS[kind].length).toBeGreaterThan(1);
    expect(new Set(namesOf(kind)).size).toBe(PLANS[kind].length);
    for (const step of PLANS[kind]) expect(step.weight).toBeGreaterThan(0);
  });

  it.each(KINDS)('%s: never comes back from behind the point of no return', (kind) => {
    const first = PLANS[kind].findIndex((step) => step.onFailure === 'retry');
    if (first >= 0) for (const step of PLANS[kind].slice(first)) expect([step.onFailure, step.isUndoable]).toEqual(['retry', false]);
  });

  it('uses a step name in one plan only, so that a handler knows what it serves', () => {
    const all = KINDS.flatMap(namesOf);
    expect(new Set(all).size).toBe(all.length);
  });
});

describe('the order of steps', () => {
  it('scripts: the first before any VM is created or shut down, the second when all are powered on', () => {
    expectOrder('failoverTest', 'recordTest', 'runTestPreScript', 'createTestVms', 'powerOnTestVms', 'runTestPostScript', 'markTestRunning');
    expectOrder('failover', 'reserveEpoch', 'runPreScript', 'createVms', 'shutDownProtectedVms', 'powerOnVms', 'runPostScript', 'markBeforeCommit');
    expectOrder('move', 'reserveMoveEpoch', 'runMovePreScript', 'shutDownVms', 'createMovedVms', 'powerOnMovedVms', 'runMovePostScript', 'markMoved');
  });

  it('failover: the epoch is reserved before anything of it can run, production is stopped only when the disks are open', () => {
    expectOrder('failover', 'recordFailover', 'reserveEpoch', 'createVms', 'openViews', 'shutDownProtectedVms', 'powerOnVms', 'markBeforeCommit');
  });

  it('commit: decided durably, then the epoch everywhere, then promotion', () => {
    expectOrder('failoverCommit', 'markCommitting', 'commitEpoch', 'startPromotion', 'endReplication', 'markPromoting');
    expectOrder('promotion', 'awaitPromotion', 'switchDisksToFiles', 'closePromotedViews', 'removeJournals', 'markPromoted');
  });

  it('rollback: nothing of the reserved epoch runs any more when it is burned, and production returns last', () => {
    expectOrder('failoverRollback', 'markRollingBack', 'powerOffVms', 'deleteVms', 'closeViews', 'burnEpoch', 'powerOnProtectedVms', 'markRolledBack');
  });

  it('move: the last checkpoint is made when nothing can write any more, and nothing is undelivered', () => {
    expectOrder('move', 'recordMove', 'reserveMoveEpoch', 'shutDownVms', 'drainStreams', 'insertLastCheckpoint', 'createMovedVms', 'openMovedViews', 'powerOnMovedVms', 'markMoved');
  });

  it('reverse protection: the old VMs are gone before their disks are recovery volumes, and these are open before anything is sent', () => {
    expectOrder('reverseProtection', 'awaitOldSite', 'handOver', 'awaitReversed');
    expectOrder('takeReverse', 'recordReversed', 'retireOldVms', 'openOldVolumes', 'startReversed');
  });

  it('a removed VBA gets nothing any more before it is forgotten; what was opened to be read is closed, read or not', () => {
    expectOrder('removeVba', 'expelVba', 'forgetVba');
    expectOrder('verifyCheckpoint', 'openReadViews', 'readVolumes', 'closeReadViews');
    expect(PLANS.verifyCheckpoint[0]?.isUndoable).toBe(true);
  });

  it('commit and rollback only go forward: both could otherwise be half done', () => {
    for (const kind of ['failoverCommit', 'promotion', 'failoverRollback', 'failoverTestStop', 'deleteVpg', 'takeReverse', 'removeVba'] as const) {
      expect(PLANS[kind].every((step) => step.onFailure === 'retry')).toBe(true);
    }
  });

  it('test: the VMs go before the disks they run on', () => {
    expectOrder('failoverTest', 'recordTest', 'createTestVms', 'openTestViews', 'powerOnTestVms', 'markTestRunning');
    expectOrder('failoverTestStop', 'powerOffTestVms', 'deleteTestVms', 'closeTestViews', 'clearTest');
  });

  it('creation: journals stand before the first byte is sent; deletion: nothing is sent when they go', () => {
    expectOrder('createVpg', 'recordVpg', 'copyToPeer', 'prepareRecovery', 'startProtection', 'markProtecting');
    expectOrder('deleteVpg', 'markDeleting', 'stopProtection', 'removeRecovery', 'removePeerCopy', 'removeVpg');
  });
});
