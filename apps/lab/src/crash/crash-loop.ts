import { setTimeout as sleep } from 'node:timers/promises';
import type { SitePair } from '../e2e/site-pair.js';
import { examineWorkload, problemsOf } from '../guest/workload.js';
import type { Checkpoint, VpgClient } from '../rest/vpg-client.js';
import { until } from '../until.js';
import type { Fault, FaultStage } from './faults.js';
import type { GuestProcess, GuestWait } from './guest-process.js';
import { CRASH_LANES, CRASH_VMS } from './lanes.js';
import type { SeededRandom } from './random.js';

/** Mission "No stall": what any fault outside the capture process may add to a guest's write. */
const STALL_MS_MAX = 100;
/** Goal for the restart of a capture process (data-plane.md §1). */
const RESTART_MS_MAX = 2000;
const HEALED_TIMEOUT_MS = 120_000;
const HELD_MS_MIN = 100;
const HELD_MS_MAX = 4000;

export interface CycleResult {
  readonly fault: string;
  readonly heldMs: number;
  /** Until a checkpoint of after the fault was listed. */
  readonly recoveredMs: number;
  readonly guestWaitMs: number;
  readonly guestWaitMsMax: number;
  readonly checkpointCount: number;
  readonly examinedId: string;
  readonly violations: readonly string[];
}

const ids = (checkpoints: readonly Checkpoint[]): string[] => checkpoints.map(({ CheckpointIdentifier }) => CheckpointIdentifier);

/** One fault after the other under load, and after each the guarantees of the mission. */
export class CrashLoop {
  /** Checkpoints whose time came from a wrong clock. */
  readonly #timeless = new Set<string>();
  #known: readonly string[] = [];

  constructor(
    private readonly stage: FaultStage,
    private readonly vpg: VpgClient,
    private readonly guests: GuestProcess,
    private readonly random: SeededRandom,
  ) {}

  get #pair(): SitePair {
    return this.stage.pair;
  }

  async cycle(fault: Fault): Promise<CycleResult> {
    this.#known = ids(await this.vpg.checkpoints());
    const before = await this.guests.takeWait();
    const injectedAtMs = performance.now();
    await fault.inject(this.stage);
    await sleep(this.random.between(HELD_MS_MIN, HELD_MS_MAX));
    const heldMs = performance.now() - injectedAtMs;
    const healing = await this.#heal(fault);
    const wait = await this.guests.takeWait();
    const checkpoints = await this.vpg.checkpoints();
    const examined = this.#pick(checkpoints);
    const violations = [
      ...healing.violations,
      ...this.#lost(checkpoints),
      ...waitProblems(fault, wait, heldMs),
      ...(wait.writeCount > before.writeCount ? [] : ['guests have written nothing since the fault']),
      ...(await this.#examine(examined)),
    ];
    return {
      fault: fault.name, heldMs, recoveredMs: healing.recoveredMs, guestWaitMs: wait.slowestMs, guestWaitMsMax: bound(fault, heldMs) + wait.ownDelayMs,
      checkpointCount: checkpoints.length, examinedId: examined.CheckpointIdentifier, violations,
    };
  }

  async #heal(fault: Fault): Promise<{ readonly recoveredMs: number; readonly violations: readonly string[] }> {
    const healedAtMs = performance.now();
    await fault.heal(this.stage);
    const fromMs = Date.now();
    const newest = Number(this.#known.at(-1) ?? 0);
    const isNew = (checkpoint: Checkpoint): boolean => Number(checkpoint.CheckpointIdentifier) > newest && Date.parse(checkpoint.TimeStamp) > fromMs;
    // An API that is not up yet is asked again.
    const listed = async (): Promise<Checkpoint[]> => await this.vpg.checkpoints().catch(() => []);
    try {
      const now = await until('a checkpoint after the fault', async () => {
        const all = await listed();
        return all.some(isNew) ? all : undefined;
      }, { timeoutMs: HEALED_TIMEOUT_MS });
      if (fault.isClockWrong) for (const id of ids(now)) if (!this.#known.includes(id)) this.#timeless.add(id);
      return { recoveredMs: performance.now() - healedAtMs, violations: [] };
    } catch (error) {
      return { recoveredMs: performance.now() - healedAtMs, violations: [String(error)] };
    }
  }

  /** No regress: the history window is longer than the whole run, so none may be gone. */
  #lost(checkpoints: readonly Checkpoint[]): string[] {
    const now = new Set(ids(checkpoints));
    const lost = this.#known.filter((id) => !now.has(id));
    return lost.length === 0 ? [] : [`${lost.length} listed checkpoints are gone: ${lost.slice(0, 5).join(', ')}`];
  }

  /** The newest, the oldest or any. */
  #pick(checkpoints: readonly Checkpoint[]): Checkpoint {
    const dice = this.random.next();
    const chosen = dice < 0.4 ? checkpoints.at(-1) : dice < 0.5 ? checkpoints[0] : this.random.pick(checkpoints);
    return chosen ?? this.random.pick(checkpoints);
  }

  /** Through a failover test: prefix, one common cut, and everything that had completed before its time. */
  async #examine(checkpoint: Checkpoint): Promise<string[]> {
    try {
      await this.vpg.startTest(checkpoint.CheckpointIdentifier);
      const vms = await this.#pair.recovered(CRASH_VMS.length);
      const problems = await this.problemsAt(checkpoint, vms);
      await this.vpg.stopTest();
      return problems.map((problem) => `checkpoint ${checkpoint.CheckpointIdentifier}: ${problem}`);
    } catch (error) {
      await this.vpg.stopTest().catch(() => undefined);
      return [`the failover test of checkpoint ${checkpoint.CheckpointIdentifier}: ${String(error)}`];
    }
  }

  async problemsAt(checkpoint: Checkpoint, vms: Parameters<typeof examineWorkload>[1]): Promise<string[]> {
    const bounds = await this.guests.boundsAt(Date.parse(checkpoint.TimeStamp));
    const none = { atLeast: new Map<number, number>(), atMost: (await this.guests.boundsAt(Infinity)).atMost };
    return problemsOf(await examineWorkload(CRASH_LANES, vms), this.#timeless.has(checkpoint.CheckpointIdentifier) ? none : bounds);
  }
}

const bound = (fault: Fault, heldMs: number): number => (fault.isCaptureHit ? heldMs + RESTART_MS_MAX : STALL_MS_MAX);

function waitProblems(fault: Fault, { slowestMs, ownDelayMs, failure }: GuestWait, heldMs: number): string[] {
  const problems = failure === '' ? [] : [`a guest's write failed: ${failure}`];
  if (slowestMs - ownDelayMs > bound(fault, heldMs)) problems.push(`a guest waited ${Math.round(slowestMs)} ms for a write, ${Math.round(bound(fault, heldMs))} are allowed (its own process was away for ${Math.round(ownDelayMs)})`);
  return problems;
}
