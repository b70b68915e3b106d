import { setTimeout as sleep } from 'node:timers/promises';
import { MiB } from '@tidemark/base';
import { SERVER_BACK_MS_MAX } from '../block-device/disk-server.js';
import type { SitePair } from '../e2e/site-pair.js';
import { examineWorkload, type LaneMarks, problemsOf } from '../guest/workload.js';
import type { Checkpoint, VpgClient } from '../rest/vpg-client.js';
import { until } from '../until.js';
import { ComparedBytes } from './compared-bytes.js';
import type { Fault, FaultStage } from './faults.js';
import type { GuestProcess, GuestWait } from './guest-process.js';
import { CRASH_LANES, CRASH_VMS, isOnNbdDisk } from './lanes.js';
import type { SeededRandom } from './random.js';

/** Mission "No stall": what any fault outside the capture process may add to a guest's write. */
const STALL_MS_MAX = 100;
/** Goal for the restart of a capture process (data-plane.md §1). */
const RESTART_MS_MAX = 2000;
/** What guests write is 34 MiB of 320; the smallest disk, compared as a whole, has more than this. */
const COMPARED_BYTES_MAX = 48 * MiB;
/** After everything was compared, at the beginning and for a broken journal, the activity log has to be written anew before it says what differs: twice its period. */
const TRUST_MS = 30_000;
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
  readonly #compared: ComparedBytes;
  #known: readonly string[] = [];
  #comparedAllAtMs = performance.now();

  constructor(
    private readonly stage: FaultStage,
    private readonly vpg: VpgClient,
    private readonly guests: GuestProcess,
    private readonly random: SeededRandom,
  ) {
    this.#compared = new ComparedBytes(stage.pair, vpg.vpgId);
  }

  get #pair(): SitePair {
    return this.stage.pair;
  }

  async cycle(fault: Fault): Promise<CycleResult> {
    this.#known = ids(await this.vpg.checkpoints());
    const before = await this.guests.takeWait();
    await this.#takeCompared();
    const injectedAtMs = performance.now();
    const mayCompareAll = injectedAtMs - this.#comparedAllAtMs < TRUST_MS;
    await fault.inject(this.stage);
    await sleep(this.random.between(HELD_MS_MIN, HELD_MS_MAX));
    const heldMs = performance.now() - injectedAtMs;
    const healing = await this.#heal(fault);
    const wait = await this.guests.takeWait();
    const longest = longestWait(wait, (lane) => boundMs(fault, lane, { heldMs, healMs: healing.healMs }));
    const checkpoints = await this.vpg.checkpoints();
    const examined = this.#pick(checkpoints);
    const violations = [
      ...healing.violations,
      ...this.#lost(checkpoints),
      ...waitProblems(wait, longest),
      ...comparedProblems(mayCompareAll ? undefined : fault, await this.#takeCompared()),
      ...(wait.writeCount > before.writeCount ? [] : ['guests have written nothing since the fault']),
      ...(await this.#examine(examined)),
    ];
    return {
      fault: fault.name, heldMs, recoveredMs: healing.recoveredMs, guestWaitMs: longest.slowestMs, guestWaitMsMax: longest.boundMs + wait.ownDelayMs,
      checkpointCount: checkpoints.length, examinedId: examined.CheckpointIdentifier, violations,
    };
  }

  async #heal(fault: Fault): Promise<{ readonly healMs: number; readonly recoveredMs: number; readonly violations: readonly string[] }> {
    const healedAtMs = performance.now();
    await fault.heal(this.stage);
    const healMs = performance.now() - healedAtMs;
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
      await this.#untilGuestsGoOn();
      if (fault.isClockWrong) for (const id of ids(now)) if (!this.#known.includes(id)) this.#timeless.add(id);
      return { healMs, recoveredMs: performance.now() - healedAtMs, violations: [] };
    } catch (error) {
      return { healMs, recoveredMs: performance.now() - healedAtMs, violations: [String(error)] };
    }
  }

  /** Checkpoints come while a guest still waits for its disk's server: its wait would count for the next fault. */
  async #untilGuestsGoOn(): Promise<void> {
    const completed = async (): Promise<LaneMarks> => (await this.guests.boundsAt(Infinity)).atLeast;
    const from = await completed();
    await until('a write of every guest', async () => {
      const now = await completed();
      return [...now].every(([lane, seq]) => seq > (from.get(lane) ?? 0)) ? true : undefined;
    }, { timeoutMs: HEALED_TIMEOUT_MS });
  }

  async #takeCompared(): Promise<number> {
    const bytes = await this.#compared.take();
    if (bytes > COMPARED_BYTES_MAX) this.#comparedAllAtMs = performance.now();
    return bytes;
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

interface Lasted {
  readonly heldMs: number;
  /** Of what undoes the fault. */
  readonly healMs: number;
}

function boundMs(fault: Fault, lane: number, { heldMs, healMs }: Lasted): number {
  // The VRA is started first, then the server.
  if (fault.isCaptureHit) return heldMs + RESTART_MS_MAX + (fault.isNbdDiskHit ? healMs : 0);
  return fault.isNbdDiskHit && isOnNbdDisk(lane) ? heldMs + SERVER_BACK_MS_MAX : STALL_MS_MAX;
}

interface LongestWait {
  readonly slowestMs: number;
  readonly boundMs: number;
}

/** Of the lane that is furthest beyond its bound, or nearest to it. */
function longestWait({ waits }: GuestWait, boundOf: (lane: number) => number): LongestWait {
  const bounded = waits.map(({ lane, slowestMs }) => ({ slowestMs, boundMs: boundOf(lane) }));
  return bounded.sort((one, other) => other.slowestMs - other.boundMs - (one.slowestMs - one.boundMs))[0] ?? { slowestMs: 0, boundMs: STALL_MS_MAX };
}

function waitProblems({ ownDelayMs, failure }: GuestWait, longest: LongestWait): string[] {
  const problems = failure === '' ? [] : [`a guest's write failed: ${failure}`];
  if (longest.slowestMs - ownDelayMs > longest.boundMs) {
    problems.push(`a guest waited ${Math.round(longest.slowestMs)} ms for a write, ${Math.round(longest.boundMs)} are allowed (its own process was away for ${Math.round(ownDelayMs)})`);
  }
  return problems;
}

/** After a crash what is marked is compared, never a whole disk. */
function comparedProblems(fault: Fault | undefined, bytes: number): string[] {
  const isBounded = fault?.isCaptureHit === true || fault?.isNbdDiskHit === true;
  return isBounded && bytes > COMPARED_BYTES_MAX ? [`${bytes} bytes were compared or sent again, ${COMPARED_BYTES_MAX} are allowed`] : [];
}
