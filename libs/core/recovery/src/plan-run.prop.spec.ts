import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { beginRun, dueStep, PLANS, progressPercent, resumed, stepFailed, stepSucceeded, type PlanKind, type PlanRun } from './index.js';

/** What a step of an imagined world leaves behind: one thing under its own name; undoing takes it away. */
class World {
  readonly things = new Set<string>();
  /** What had to be there when a step was done first. */
  readonly history: string[] = [];

  do(name: string): void {
    if (!this.things.has(name)) this.history.push(name);
    this.things.add(name);
  }

  undo(name: string): void {
    this.things.delete(name);
  }
}

/** How one attempt of a step ends; `died…` loses everything that was not stored. */
const OUTCOMES = ['worked', 'worked', 'worked', 'diedBefore', 'diedHalfway', 'diedBeforeStoring', 'passingFailure', 'lastingFailure'] as const;
type Outcome = (typeof OUTCOMES)[number];

/** Runs a plan against a world with these outcomes, then without further trouble. The stored run is JSON, as in a database. */
function drive(kind: PlanKind, outcomes: readonly Outcome[]): { world: World; run: PlanRun; percents: number[] } {
  const world = new World();
  let stored = JSON.stringify(beginRun(kind));
  const percents: number[] = [];
  for (let attempt = 0; ; attempt += 1) {
    const run = JSON.parse(stored) as PlanRun;
    const due = dueStep(run);
    if (due === undefined) return { world, run, percents };
    percents.push(progressPercent(run));
    const outcome = outcomes[attempt] ?? 'worked';
    const touch = (): void => (due.direction === 'do' ? world.do(due.name) : world.undo(due.name));
    if (outcome === 'worked' || outcome === 'diedHalfway' || outcome === 'diedBeforeStoring') touch();
    stored = JSON.stringify(after(run, outcome));
    if (attempt > 2000) throw new Error('the plan does not end');
  }
}

function after(run: PlanRun, outcome: Outcome): PlanRun {
  switch (outcome) {
    case 'worked': return stepSucceeded(run);
    case 'diedBefore':
    case 'diedHalfway':
    case 'diedBeforeStoring': return resumed(run);
    case 'passingFailure': return stepFailed(run, { reason: 'later', isRetryable: true });
    case 'lastingFailure': return stepFailed(run, { reason: 'no', isRetryable: false });
  }
}

const kinds = fc.constantFrom(...(Object.keys(PLANS) as PlanKind[]));
const troubles = fc.array(fc.constantFrom(...OUTCOMES), { maxLength: 60 });

describe('any plan under any trouble', () => {
  it('ends with everything done, or with nothing left of what can be undone', () => {
    fc.assert(fc.property(kinds, troubles, (kind, outcomes) => {
      const { world, run } = drive(kind, outcomes);
      const steps = PLANS[kind];
      if (run.phase === 'completed') {
        expect([...world.things].sort()).toEqual(steps.map(({ name }) => name).sort());
      } else {
        expect(run.phase).toBe('rolledBack');
        const undoable = steps.filter((step) => step.isUndoable).map(({ name }) => name as string);
        expect([...world.things].filter((name) => undoable.includes(name))).toEqual([]);
      }
    }), { numRuns: 500 });
  });

  it('does the steps for the first time in their order, whatever dies in between', () => {
    fc.assert(fc.property(kinds, troubles, (kind, outcomes) => {
      const { world } = drive(kind, outcomes);
      expect(world.history).toEqual(PLANS[kind].map(({ name }) => name as string).slice(0, world.history.length));
    }), { numRuns: 300 });
  });

  it('comes to the same end when it is killed between any two steps', () => {
    for (const kind of Object.keys(PLANS) as PlanKind[]) {
      for (let at = 0; at <= PLANS[kind].length; at += 1) {
        for (const death of ['diedBefore', 'diedHalfway', 'diedBeforeStoring'] as const) {
          const outcomes = [...Array.from({ length: at }, () => 'worked' as const), death];
          const { world, run } = drive(kind, outcomes);
          expect([run.phase, world.things.size]).toEqual(['completed', PLANS[kind].length]);
        }
      }
    }
  });

  it('leaves nothing when it fails at any step that has a way back', () => {
    for (const kind of Object.keys(PLANS) as PlanKind[]) {
      PLANS[kind].forEach((step, at) => {
        const { world, run } = drive(kind, [...Array.from({ length: at }, () => 'worked' as const), 'lastingFailure']);
        expect(run.phase).toBe(step.onFailure === 'retry' ? 'completed' : 'rolledBack');
        const left = PLANS[kind].filter((other) => other.isUndoable && world.things.has(other.name));
        if (run.phase === 'rolledBack') expect(left).toEqual([]);
      });
    }
  });

  it('shows progress between 0 and 100 that only falls when it goes back', () => {
    fc.assert(fc.property(kinds, fc.array(fc.constantFrom<Outcome>('worked', 'diedBefore', 'passingFailure'), { maxLength: 20 }), (kind, outcomes) => {
      const { percents, run } = drive(kind, outcomes);
      for (const percent of percents) expect(percent >= 0 && percent <= 100).toBe(true);
      if (run.phase === 'completed') expect(percents).toEqual([...percents].sort((a, b) => a - b));
    }));
  });
});
