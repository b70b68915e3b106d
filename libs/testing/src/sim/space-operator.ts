import type { Checkers, Site } from './checkers.js';
import type { PinSpec } from './sim-pins.js';
import type { RecoveringHost } from './recovering-host.js';
import type { SimRecovery } from './sim-recovery.js';
import type { VpgPlan } from './topology.js';
import { Violation, type World } from './world.js';

const PIN_MS_MAX = 2500;
const LOOK_MS = 250;
const RETRY_MS = 60;
/** Without faults a journal may be full for so long before somebody raises its limit, and for so long when giving up history would have helped. */
const FULL_MS = 2000;
const FULL_MS_MAX = 8000;

/** By this factor: more than the rest of a run fills. */
const RAISED = 64;

/** People and programs that have to do with space: backups pin checkpoints for a while, and somebody raises a limit that was too small. */
export class SpaceOperator {
  #nextPin = 1;
  readonly #fullSinceMs = new Map<string, number>();
  isStopping = false;
  raisedCount = 0;

  constructor(private readonly world: World, private readonly site: Site, private readonly checkers: Checkers) {}

  pin(): void {
    const plan = this.world.random.pick(this.site.plans);
    if (this.isStopping || this.checkers.isEnding(plan.vpgId)) return;
    const held = this.checkers.mustBeHeld(plan.vpgId);
    const { vmId } = this.world.random.pick(plan.vms);
    const host = this.site.recovering.find(({ name }) => name === plan.recoveringHostOf.get(vmId));
    if (held.length === 0 || host?.isAlive !== true) return;
    const pin: PinSpec = { name: `pin${this.#nextPin}`, vpgId: plan.vpgId, vmId, checkpointId: this.world.random.pick(held) };
    this.#nextPin += 1;
    this.world.touch();
    void host.pins.put(pin).then(() => this.#kept(host, pin), () => undefined);
  }

  #kept(host: RecoveringHost, pin: PinSpec): void {
    this.checkers.space.pinned(pin);
    this.world.after(this.world.random.below(PIN_MS_MAX), () => this.#drop(host, pin));
  }

  /** Until it is answered: a host that dies never answers. */
  #drop(host: RecoveringHost, pin: PinSpec): void {
    this.checkers.space.unpinned(pin);
    if (!host.pins.list.some(({ name }) => name === pin.name)) return;
    this.world.touch();
    if (host.isAlive) void host.pins.drop(pin).catch(() => undefined);
    this.world.after(RETRY_MS, () => this.#drop(host, pin));
  }

  /** When all faults are over: a journal that is full at its limit must find room by itself as long as there is history to give up; then somebody raises the limit. */
  stop(): void {
    this.isStopping = true;
    this.#look();
  }

  #look(): void {
    for (const host of this.site.recovering) {
      for (const recovery of host.recoveries) {
        if (!recovery.isAtHardLimit) this.#fullSinceMs.delete(recovery.key);
        else this.#full(recovery);
      }
    }
    this.world.after(LOOK_MS, () => this.#look());
  }

  #full(recovery: SimRecovery): void {
    const sinceMs = this.#fullSinceMs.get(recovery.key) ?? this.world.nowMs;
    this.#fullSinceMs.set(recovery.key, sinceMs);
    const { vpgId, space } = recovery.vm;
    const plan = this.site.plans.find((one) => one.vpgId === vpgId);
    const isFruitful = plan !== undefined && recovery.wantedOldest() !== undefined && this.#canGiveUp(plan);
    const forMs = this.world.nowMs - sinceMs;
    if (isFruitful && forMs > FULL_MS_MAX) this.world.fail(new Violation('stuck', `the journal of ${recovery.key} has been full for ${forMs} ms, and there is history to be given up: ${this.checkers.mustBeHeld(vpgId).join(', ')}`));
    if (isFruitful || forMs < FULL_MS || space === undefined) return;
    space.hardBytes *= RAISED;
    this.raisedCount += 1;
  }

  #canGiveUp({ vpgId }: VpgPlan): boolean {
    const recoveries = this.site.recovering.flatMap((host) => host.recoveries.filter(({ vm }) => vm.vpgId === vpgId));
    const needed = Math.min(this.checkers.space.oldestPinned(vpgId), ...this.site.recovering.flatMap((host) => host.needed(vpgId).map(({ checkpointId }) => checkpointId)));
    const isWhole = recoveries.every(({ journal }) => journal !== undefined && journal.stats().state.phase !== 'broken');
    return isWhole && !this.checkers.isEnding(vpgId) && this.checkers.mustBeHeld(vpgId).filter((id) => id <= needed).length > 1;
  }
}
