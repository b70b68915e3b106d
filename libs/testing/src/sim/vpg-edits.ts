import { termOf } from '@tidemark/checkpoint';
import type { Checkers, Site } from './checkers.js';
import { markerKey } from './guest-vm.js';
import { retirementPlans } from './host-change.js';
import type { ProtectedSite } from './protected-site.js';
import { Random } from './random.js';
import type { RecoverySite, Until } from './recovery-site.js';
import type { RetirementPlan } from './sim-retirement.js';
import type { SwarmOptions } from './swarm.js';
import type { VpgPlan } from './topology.js';
import { Violation, type World } from './world.js';

const ROW = 0xed17000;
const CHANCE = 0.2;
const CHOICES_ROW = 0x5e771465;
const HISTORIES_MS = [300, 500, 1500, 1500, 5000, 60_000];
/** Far apart: by the times of checkpoints one sees which is in force. */
const INTERVALS_MS = [60, 200, 700];
/** The operation fails at its second step, and what it has done is undone. */
const UNDONE_CHANCE = 0.2;
/** What was asked twice has ended everywhere: a state file takes less. */
const SAID_TWICE_MS = 10;
/** Beyond the history, without faults: reports of all, and an agreement. */
const SLACK_MS = 1500;
const GAPS_MIN = 5;
/** Without faults: time to tell which settings are in force. */
const LOOK_MS = 9000;

export interface Settings {
  readonly historyMs: number;
  readonly intervalMs: number;
}

/** Of runs where checkpoints are not thinned: by a row of numbers of its own. */
export function withVpgEdits(options: SwarmOptions, seed: number, isEdited?: boolean): SwarmOptions {
  const own = new Random(seed ^ ROW);
  const isChosen = isEdited ?? own.chance(CHANCE);
  return isChosen && !options.isThinned ? { ...options, editMs: own.pick([200, 600, 1500]) } : options;
}

/**
 * People who edit VPGs, by the manager's plan `updateVpg`: record, hand the history to the recovering VRAs until each has answered, tell the protecting ones the interval.
 * While it lasts nobody knows which history is in force, so the shorter one counts; from its end on the recorded one, and no other.
 */
export class VpgEdits {
  readonly #random: Random;
  readonly #edited = new Set<VpgPlan>();
  #isStopped = false;
  #quietSinceMs = Infinity;
  count = 0;

  constructor(
    private readonly world: World, private readonly site: Site, private readonly manager: ProtectedSite, private readonly recoverySite: RecoverySite,
    private readonly checkers: Checkers, private readonly options: SwarmOptions, private readonly isUndoForgotten: boolean,
  ) {
    this.#random = new Random(world.seed ^ CHOICES_ROW);
  }

  start(): void {
    if (this.options.editMs !== undefined) this.#schedule(this.options.editMs);
  }

  stop(): void {
    this.#isStopped = true;
  }

  #schedule(meanMs: number): void {
    this.world.after(-Math.log(1 - this.#random.unit()) * meanMs, () => {
      if (this.#isStopped) return;
      this.#edit(this.#random.pick(this.site.plans));
      this.#schedule(meanMs);
    });
  }

  #edit(plan: VpgPlan): void {
    const after: Settings = { historyMs: this.#random.pick(HISTORIES_MS), intervalMs: this.#random.pick(INTERVALS_MS) };
    if (!plan.isReversed) this.recoverySite.edit(plan, (until) => this.#update(plan, after, until));
  }

  async #update(plan: VpgPlan, after: Settings, until: Until): Promise<void> {
    const before: Settings = { historyMs: plan.historyMs, intervalMs: plan.intervalMs };
    plan.historyMs = Math.min(before.historyMs, after.historyMs);
    // The other site hears of records by itself, so perhaps before this operation tells it.
    const isHeardFirst = this.#random.chance(0.5);
    if (isHeardFirst) this.#publish(plan, after);
    const isUndone = this.#random.chance(UNDONE_CHANCE);
    if (isUndone) await this.#tell(plan, after, until, this.#random.chance(0.5) ? 1 : Infinity);
    if (!isUndone || !this.isUndoForgotten) await this.#tell(plan, isUndone ? before : after, until, Infinity);
    const { historyMs } = isUndone ? before : after;
    if (isUndone || !isHeardFirst) this.#publish(plan, isUndone ? before : after);
    await this.world.delay(SAID_TWICE_MS);
    plan.historyMs = historyMs;
    this.#edited.add(plan);
    this.count += 1;
  }

  #publish(plan: VpgPlan, { intervalMs }: Settings): void {
    plan.intervalMs = intervalMs;
    this.manager.publish();
  }

  /** The first so many of them, in any order, each in its own time. */
  async #tell(plan: VpgPlan, { historyMs }: Settings, until: Until, hostsMax: number): Promise<void> {
    const names = this.site.recovering.map(({ name }) => name);
    const told = [...retirementPlans({ ...plan, historyMs }, plan.recoveringHostOf, names)].flatMap(([name, words]) => (words === undefined ? [] : [{ name, words, lateMs: this.#random.below(this.options.documentMsMax) }]));
    const inOrder = told.toSorted((one, other) => one.lateMs - other.lateMs).slice(0, hostsMax);
    await Promise.all(inOrder.map(async ({ name, words, lateMs }) => {
      await this.world.delay(lateMs);
      await until(() => this.#configure(plan, name, words));
    }));
  }

  async #configure({ vpgId }: VpgPlan, name: string, words: RetirementPlan): Promise<void> {
    const host = this.site.recovering.find((one) => one.name === name);
    if (host?.isAlive !== true) throw new Error(`${name} does not run`);
    await host.configure(vpgId, words);
  }

  // ---- when the faults are over

  /** Of when everything was whole for the first time since. */
  quiet(): void {
    if (this.#quietSinceMs === Infinity) this.#quietSinceMs = this.world.nowMs;
  }

  /** Until when it is to be told which settings are in force. */
  get lookUntilMs(): number {
    return this.#edited.size === 0 || this.#quietSinceMs === Infinity ? 0 : this.#quietSinceMs + LOOK_MS;
  }

  /** undefined: VPGs that were edited keep to their newest settings, and to no others. */
  unmet(live: readonly VpgPlan[]): string | undefined {
    if (this.#quietSinceMs === Infinity) return undefined;
    return live.filter((plan) => this.#edited.has(plan)).map((plan) => this.#keptTooLong(plan) ?? this.#wrongInterval(plan)).find((found) => found !== undefined);
  }

  check(live: readonly VpgPlan[]): void {
    const unmet = this.unmet(live);
    if (unmet !== undefined) throw new Violation('settings', unmet);
  }

  /** The oldest one is needed as long as the one after it is younger than the history. */
  #keptTooLong(plan: VpgPlan): string | undefined {
    const [oldest, second] = this.checkers.mustBeHeld(plan.vpgId);
    if (oldest === undefined || second === undefined || this.recoverySite.isBusy(plan.vpgId)) return undefined;
    const ageMs = this.world.nowMs - this.#placedAtMs(plan, second);
    return ageMs > plan.historyMs + SLACK_MS ? `${plan.vpgId}: checkpoint ${oldest} is still held, ${second} after it is ${ageMs} ms old, and the history is ${plan.historyMs} ms` : undefined;
  }

  /** In one term: where leaders change, checkpoints come at other times. A void one leaves a gap. */
  #wrongInterval(plan: VpgPlan): string | undefined {
    const ids = this.checkers.listedOf(plan.vpgId);
    const term = termOf(ids.at(-1) ?? 0);
    const times = ids.filter((id) => termOf(id) === term).map((id) => this.#placedAtMs(plan, id)).filter((atMs) => atMs >= this.#quietSinceMs);
    const gaps = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0));
    if (gaps.length < GAPS_MIN) return `${plan.vpgId}: ${times.length} checkpoints in ${this.world.nowMs - this.#quietSinceMs} ms without faults, at an interval of ${plan.intervalMs} ms`;
    // Of most: one that somebody asked for, or a move, may come in between.
    const gapMs = gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 0;
    const isRight = gapMs > plan.intervalMs * 0.95 && gapMs < plan.intervalMs * 1.5;
    return isRight ? undefined : `${plan.vpgId}: checkpoints come every ${gapMs} ms, and the interval is ${plan.intervalMs} ms`;
  }

  /** By the leader, whose own markers are the first. */
  #placedAtMs({ vpgId, vms }: VpgPlan, checkpointId: number): number {
    return Math.min(...vms.map(({ markers }) => markers.get(markerKey(vpgId, checkpointId))?.placedAtMs ?? Infinity));
  }
}
