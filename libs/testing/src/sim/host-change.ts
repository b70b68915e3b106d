import type { Checkers } from './checkers.js';
import type { RecoveringHost } from './recovering-host.js';
import type { ProtectedSite } from './protected-site.js';
import type { Until } from './recovery-site.js';
import type { RetirementPlan } from './sim-retirement.js';
import type { MoveOrder } from './sim-takeover.js';
import type { SwarmOptions } from './swarm.js';
import { Random } from './random.js';
import { keyOf, type VpgPlan } from './topology.js';
import { Violation, type World } from './world.js';

const CHANGES_CHANCE = 0.15;
/** The manager asks the new VRA before the old one has answered: the files must say who may. */
const IMPATIENT_CHANCE = 0.3;
const LATE_MS_MAX = 3000;

/** By numbers of its own: the other choices of a seed stay. */
export function changingHosts(options: SwarmOptions, seed: number, isChosen: boolean | undefined): SwarmOptions {
  const own = new Random(seed ^ 0x4068f);
  const isOne = own.chance(CHANGES_CHANCE);
  if (!(isChosen ?? isOne) || options.isThinned || options.space !== undefined) return options;
  const faults = new Map([...options.faults, ['changeHost', own.pick([150, 500])] as const]);
  return { ...options, faults, recoveringCount: Math.max(2, options.recoveringCount), isChangingHosts: true };
}

/** The manager's plan `moveRecovery`: release at the old VRA, take over at the new one, record, tell everybody. */
export class HostChange {
  readonly #numbers = new Map<string, number>();
  count = 0;

  constructor(private readonly world: World, private readonly hosts: readonly RecoveringHost[], private readonly manager: ProtectedSite, private readonly checkers: Checkers) {}

  isPossible(plan: VpgPlan): boolean {
    return !plan.isReversed && this.#hostsOf(plan).length > 1;
  }

  #hostsOf({ isReversed }: VpgPlan): readonly RecoveringHost[] {
    return isReversed ? [] : this.hosts.filter(({ name }) => name.startsWith('r'));
  }

  async run(plan: VpgPlan, until: Until): Promise<void> {
    const { random } = this.world;
    const { vmId, volumeBytes } = random.pick(plan.vms);
    const key = keyOf(plan.vpgId, vmId);
    const from = this.hosts.find(({ name }) => name === plan.recoveringHostOf.get(vmId));
    const to = random.pick(this.#hostsOf(plan).filter((host) => host !== from));
    if (from === undefined) return;
    const moveNumber = (this.#numbers.get(key) ?? 0) + 1;
    this.#numbers.set(key, moveNumber);
    const order: MoveOrder = { vm: { vpgId: plan.vpgId, vmId, volumeBytes }, moveNumber };
    const recoveringHostOf = new Map([...plan.recoveringHostOf, [vmId, to.name]]);
    const retirements = retirementPlans(plan, recoveringHostOf, this.hosts.map(({ name }) => name));
    const takeOver = (): Promise<void> => to.takeOver(order, retirements.get(to.name));
    if (random.chance(IMPATIENT_CHANCE)) this.world.after(random.below(20), () => this.#once(to, takeOver));
    const before = this.checkers.mustBeHeld(plan.vpgId);
    await until(() => from.release(key, moveNumber));
    await until(takeOver);
    const after = new Set(this.checkers.mustBeHeld(plan.vpgId));
    for (const id of before) if (after.has(id)) this.checkers.checkEverywhere(plan.vpgId, id);
    if (from.recoveries.some((recovery) => recovery.key === key)) throw new Violation('writers', `${key} has gone to ${to.name}, and ${from.name} still has it`);
    plan.recoveringHostOf.set(vmId, to.name);
    for (const [name, retirement] of retirements) await until(async () => await this.hosts.find((host) => host.name === name)?.configure(plan.vpgId, retirement));
    this.manager.publish();
    this.count += 1;
    this.#sayAgainLate(from, to, order);
  }

  /** A word of a move that is over comes once more: nobody gives up, or takes back, anything for it. */
  #sayAgainLate(from: RecoveringHost, to: RecoveringHost, { vm, moveNumber }: MoveOrder): void {
    const late = { vm, moveNumber: moveNumber - 1 };
    const delayMs = this.world.random.below(LATE_MS_MAX);
    this.world.after(delayMs, () => {
      this.#once(from, () => from.takeOver(late, undefined));
      this.#once(to, () => to.release(keyOf(vm.vpgId, vm.vmId), late.moveNumber));
    });
  }

  #once(host: RecoveringHost, act: () => Promise<void>): void {
    if (!host.isAlive || host.isPaused) return;
    this.world.touch();
    void act().catch(() => undefined);
  }
}

/** By host: what it retires with whom, from now on; undefined: nothing of this VPG. */
export function retirementPlans({ vpgId, epoch, historyMs, vms }: VpgPlan, hostOf: ReadonlyMap<string, string>, names: readonly string[]): Map<string, RetirementPlan | undefined> {
  const recoverers = names.map((vraId) => ({ vraId, vmIds: vms.map(({ vmId }) => vmId).filter((vmId) => hostOf.get(vmId) === vraId) })).filter(({ vmIds }) => vmIds.length > 0);
  const config = { vpgId, epoch, historyMs, recoverers };
  return new Map(names.map((name) => {
    const vmIds = recoverers.find(({ vraId }) => vraId === name)?.vmIds;
    return [name, vmIds && { config, vmIds }];
  }));
}
