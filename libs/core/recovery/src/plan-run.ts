import { assert, unreachable } from '@tidemark/base';
import { PLANS, type PlanKind, type Step, type StepName } from './plans.js';

/** What one run of a plan has come to: plain JSON, to be stored after every change and before the next step begins. */
export interface PlanRun {
  readonly kind: PlanKind;
  readonly phase: 'running' | 'rollingBack' | 'completed' | 'rolledBack';
  /** The step under way: to be done (running) or undone (rollingBack). */
  readonly stepIndex: number;
  /** Failures of this step so far. */
  readonly failures: number;
  /** Why it rolls back, or why the step under way is being tried again; null: nothing went wrong. */
  readonly reason: string | null;
  /** How often the process died meanwhile. */
  readonly restarts: number;
  /** What steps have found out and later ones need, e.g. the id of an inserted checkpoint. */
  readonly notes: Readonly<Record<string, unknown>>;
}

/** What to do next; nothing when the run has ended. */
export interface DueStep {
  readonly name: StepName;
  readonly title: string;
  readonly direction: 'do' | 'undo';
}

/** Failures after which an error that may pass by itself rolls back nevertheless. */
const FAILURES_MAX = 6;
const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 10_000;

const stepsOf = (run: PlanRun): readonly Step[] => PLANS[run.kind];

export function beginRun(kind: PlanKind, notes: Readonly<Record<string, unknown>> = {}): PlanRun {
  return { kind, phase: 'running', stepIndex: 0, failures: 0, reason: null, restarts: 0, notes };
}

export function dueStep(run: PlanRun): DueStep | undefined {
  switch (run.phase) {
    case 'running': return { ...named(run), direction: 'do' };
    case 'rollingBack': return { ...named(run), direction: 'undo' };
    case 'completed':
    case 'rolledBack': return undefined;
    default: return unreachable(run.phase);
  }
}

function stepAt(run: PlanRun): Step {
  const step = stepsOf(run)[run.stepIndex];
  assert(step !== undefined, `plan ${run.kind} has no step ${run.stepIndex}`);
  return step;
}

function named(run: PlanRun): { name: StepName; title: string } {
  const { name, title } = stepAt(run);
  return { name, title };
}

/** The due step was done, or undone. */
export function stepSucceeded(run: PlanRun, notes: Readonly<Record<string, unknown>> = {}): PlanRun {
  const after = { ...run, failures: 0, notes: { ...run.notes, ...notes } };
  if (run.phase === 'rollingBack') return undoNext(after, run.stepIndex - 1);
  assert(run.phase === 'running', `step succeeded in an ended run of ${run.kind}`);
  if (run.stepIndex + 1 === stepsOf(run).length) return { ...after, phase: 'completed', reason: null };
  return { ...after, stepIndex: run.stepIndex + 1, reason: null };
}

export interface StepFailure {
  readonly reason: string;
  /** The same step may work later: an unreachable VRA, a database that restarts. */
  readonly isRetryable: boolean;
}

/**
 * The due step failed. What may pass by itself is tried again a few times; then a plan that can go back does. Undoing, and steps beyond
 * the point of no return, are tried again for ever: giving up there would leave things behind.
 */
export function stepFailed(run: PlanRun, failure: StepFailure): PlanRun {
  assert(run.phase === 'running' || run.phase === 'rollingBack', `step failed in an ended run of ${run.kind}`);
  const failures = run.failures + 1;
  const isTriedAgain = run.phase === 'rollingBack' || stepAt(run).onFailure === 'retry' || (failure.isRetryable && failures < FAILURES_MAX);
  if (isTriedAgain) return { ...run, failures, reason: run.phase === 'rollingBack' ? run.reason : failure.reason };
  return rolledBackFrom(run, failure.reason);
}

/** Rolls back on demand (a stop, a lost condition); undefined when there is no way back any more. */
export function rollBack(run: PlanRun, reason: string): PlanRun | undefined {
  if (run.phase !== 'running' || stepAt(run).onFailure === 'retry') return undefined;
  return rolledBackFrom(run, reason);
}

/** The step under way is undone too: it may be done in part. */
const rolledBackFrom = (run: PlanRun, reason: string): PlanRun => undoNext({ ...run, failures: 0, reason }, run.stepIndex);

function undoNext(run: PlanRun, from: number): PlanRun {
  const steps = stepsOf(run);
  let index = from;
  while (index >= 0 && steps[index]?.isUndoable !== true) index -= 1;
  return index < 0 ? { ...run, phase: 'rolledBack', stepIndex: 0 } : { ...run, phase: 'rollingBack', stepIndex: index };
}

/** A run found unfinished at start: the step under way is done again from its beginning. */
export const resumed = (run: PlanRun): PlanRun => ({ ...run, restarts: run.restarts + 1, failures: 0 });

export const hasEnded = (run: PlanRun): boolean => run.phase === 'completed' || run.phase === 'rolledBack';

/** Before the same step is tried again: doubling from 250 ms up to 10 s. */
export const retryDelayMs = (run: PlanRun): number => Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(run.failures - 1, 10));

/** Percent done by weight; `share` (0 to 1) of the step under way. Going back never shows more than was reached. */
export function progressPercent(run: PlanRun, share = 0): number {
  if (run.phase === 'completed') return 100;
  const steps = stepsOf(run);
  const weightOf = (list: readonly Step[]): number => list.reduce((sum, step) => sum + step.weight, 0);
  const within = run.phase === 'running' ? Math.min(Math.max(share, 0), 1) * stepAt(run).weight : 0;
  return Math.floor((100 * (weightOf(steps.slice(0, run.stepIndex)) + within)) / weightOf(steps));
}

/** What the task says about how it went: restarts and rollback included. Empty: no remarks. */
export function runRemarks(run: PlanRun): string {
  const died = run.restarts === 0 ? '' : `continued after ${run.restarts === 1 ? 'a restart' : `${run.restarts} restarts`} of the site manager`;
  const why = run.reason ?? '';
  const parts = run.phase === 'rolledBack' ? [why, hasUndo(run) ? 'everything done before was undone' : '', died] : [why, died];
  return parts.filter((part) => part !== '').join('; ');
}

const hasUndo = (run: PlanRun): boolean => stepsOf(run).some((step) => step.isUndoable);
