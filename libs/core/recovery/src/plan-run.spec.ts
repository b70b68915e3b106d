import { describe, expect, it } from '@jest/globals';
import { beginRun, dueStep, hasEnded, PLANS, progressPercent, resumed, retryDelayMs, rollBack, runRemarks, stepFailed, stepSucceeded, type PlanRun } from './index.js';

const LASTING = { reason: 'datastore is full', isRetryable: false };
const PASSING = { reason: 'VRA does not answer', isRetryable: true };

function forwards(run: PlanRun, steps: number): PlanRun {
  return steps === 0 ? run : forwards(stepSucceeded(run), steps - 1);
}

describe('a run', () => {
  it('does every step in order and is completed', () => {
    let run = beginRun('failover');
    const done = [];
    for (let due = dueStep(run); due !== undefined; due = dueStep(run)) {
      done.push(due.name);
      expect(due.direction).toBe('do');
      run = stepSucceeded(run);
    }
    expect(done).toEqual(PLANS.failover.map(({ name }) => name));
    expect([run.phase, hasEnded(run), progressPercent(run), runRemarks(run)]).toEqual(['completed', true, 100, '']);
  });

  it('undoes the failed step and all before it, last first, and says why', () => {
    let run = stepFailed(forwards(beginRun('failover'), 5), LASTING);
    const undone = [];
    for (let due = dueStep(run); due !== undefined; due = dueStep(run)) {
      expect(due.direction).toBe('undo');
      undone.push(due.name);
      run = stepSucceeded(run);
    }
    expect(undone).toEqual(['shutDownProtectedVms', 'openViews', 'createVms', 'reserveEpoch', 'recordFailover']);
    expect(run.phase).toBe('rolledBack');
    expect(runRemarks(run)).toBe('datastore is full; everything done before was undone');
  });

  it('tries again what may pass, six times, then rolls back', () => {
    let run = forwards(beginRun('createVpg'), 2);
    for (let failures = 1; failures < 6; failures += 1) {
      run = stepFailed(run, PASSING);
      expect([dueStep(run)?.direction, dueStep(run)?.name, run.failures]).toEqual(['do', 'prepareRecovery', failures]);
    }
    run = stepFailed(run, PASSING);
    expect(dueStep(run)).toMatchObject({ name: 'prepareRecovery', direction: 'undo' });
  });

  it('forgets failures that passed', () => {
    const run = stepSucceeded(stepFailed(beginRun('createVpg'), PASSING));
    expect([run.failures, run.reason]).toEqual([0, null]);
  });

  it('never gives up undoing, and keeps the first reason', () => {
    let run = stepFailed(forwards(beginRun('createVpg'), 1), LASTING);
    for (let time = 0; time < 50; time += 1) run = stepFailed(run, { reason: 'peer is gone', isRetryable: false });
    expect([dueStep(run)?.name, run.reason]).toEqual(['copyToPeer', 'datastore is full']);
  });

  it('never comes back from a commit', () => {
    let run = beginRun('failoverCommit');
    for (let time = 0; time < 50; time += 1) run = stepFailed(run, LASTING);
    expect(dueStep(run)).toMatchObject({ name: 'markCommitting', direction: 'do' });
    expect(run.reason).toBe('datastore is full');
    expect(rollBack(run, 'user')).toBeUndefined();
  });

  it('rolls back on demand while there is a way back', () => {
    expect(dueStep(rollBack(forwards(beginRun('failoverTest'), 3), 'stopped by admin') ?? beginRun('failoverTest'))).toMatchObject({ name: 'openTestViews', direction: 'undo' });
    expect(rollBack(forwards(beginRun('failoverTest'), 7), 'late')).toBeUndefined();
  });

  it('ends at once when nothing was there to undo', () => {
    const run = stepFailed(beginRun('insertCheckpoint'), { reason: 'void', isRetryable: false });
    expect([run.phase, runRemarks(run)]).toEqual(['rolledBack', 'void']);
  });

  it('remembers notes and restarts', () => {
    const run = resumed(stepSucceeded(beginRun('insertCheckpoint', { tag: 'a' }), { checkpointId: 7 }));
    expect([run.notes, runRemarks(run), runRemarks(resumed(run))]).toEqual([
      { tag: 'a', checkpointId: 7 }, 'continued after a restart of the site manager', 'continued after 2 restarts of the site manager',
    ]);
  });
});

describe('progress', () => {
  it('goes by weight and by the share of the step under way', () => {
    const run = forwards(beginRun('insertCheckpoint'), 1);
    expect([progressPercent(run), progressPercent(run, 0.5), progressPercent(run, 2)]).toEqual([30, 55, 80]);
  });
});

describe('retryDelayMs', () => {
  it('doubles from 250 ms to 10 s', () => {
    let run = beginRun('failoverCommit');
    const delays = Array.from({ length: 8 }, () => {
      run = stepFailed(run, LASTING);
      return retryDelayMs(run);
    });
    expect(delays).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  });
});
