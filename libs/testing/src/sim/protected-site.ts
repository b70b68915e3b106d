import type { BarrierConfig } from '@tidemark/checkpoint';
import type { GuestVm } from './guest-vm.js';
import type { ProtectingHost } from './protecting-host.js';
import { EPOCH, type DesiredState, type VpgPlan } from './topology.js';
import type { World } from './world.js';

const DRAIN_POLL_MS = 2;

/** The protected site's manager: knows where each VM runs and tells the hosts what to do, late, twice, and out of order. */
export class ProtectedSite {
  #revision = 0;
  /** By VPG. */
  readonly #versions = new Map<string, number>();
  readonly #members = new Map<string, string>();
  /** Longest way of a document to a host, ms. */
  documentMsMax = 5;

  constructor(
    private readonly world: World,
    private readonly plans: readonly VpgPlan[],
    private readonly vms: readonly GuestVm[],
    private readonly hosts: ReadonlyMap<string, ProtectingHost>,
  ) {}

  /** At the start everybody knows. */
  begin(): void {
    const documents = this.#documents();
    for (const host of this.hosts.values()) {
      const document = documents.get(host.name);
      if (document !== undefined) host.apply(document);
    }
  }

  /** Everyone gets the newest document, each in its own time. */
  publish(): void {
    for (const [name, document] of this.#documents()) this.#send(name, document);
  }

  #send(name: string, document: DesiredState): void {
    const { random } = this.world;
    const deliver = (): void => this.hosts.get(name)?.apply(document);
    this.world.after(random.below(this.documentMsMax), deliver);
    // An operator, or a retry, sends the same once more, after newer ones.
    if (random.chance(0.2)) this.world.after(random.below(20 * this.documentMsMax), deliver);
  }

  /** Live migration: the guest stops when its requests are done, runs on elsewhere, and only then do the VRAs hear of it. */
  moveVm(vm: GuestVm, to: string): void {
    const from = this.hosts.get(vm.runsOn);
    if (vm.isPaused || from === undefined || vm.runsOn === to) return;
    vm.isPaused = true;
    const drained = (): void => {
      if (from.isAlive && from.requestsOf(vm.vmId) > 0) return this.world.after(DRAIN_POLL_MS, drained);
      vm.runsOn = to;
      vm.isPaused = false;
      this.publish();
    };
    drained();
  }

  #documents(): Map<string, DesiredState> {
    this.#revision += 1;
    const barriers = this.plans.map((plan) => this.#barrier(plan));
    return new Map([...this.hosts.keys()].map((name) => {
      const vms = this.vms.filter((vm) => vm.runsOn === name);
      const protections = this.plans.flatMap((plan) => plan.vms.filter((vm) => vm.runsOn === name).map((vm) => ({
        vpgId: plan.vpgId, vm, recoveringHost: plan.recoveringHostOf.get(vm.vmId) ?? '', epoch: EPOCH,
      })));
      const own = barriers.filter(({ members }) => members.some(({ vraId }) => vraId === name));
      return [name, { revision: this.#revision, vms, protections, barriers: own }];
    }));
  }

  /** A new version whenever the members change. */
  #barrier({ vpgId, vms, intervalMs }: VpgPlan): BarrierConfig {
    const members = [...this.hosts.keys()]
      .map((vraId) => ({ vraId, vmIds: vms.filter((vm) => vm.runsOn === vraId).map((vm) => vm.vmId) }))
      .filter(({ vmIds }) => vmIds.length > 0);
    const print = JSON.stringify(members);
    if (this.#members.get(vpgId) !== print) {
      this.#members.set(vpgId, print);
      this.#versions.set(vpgId, (this.#versions.get(vpgId) ?? 0) + 1);
    }
    return { vpgId, version: this.#versions.get(vpgId) ?? 1, epoch: EPOCH, intervalMs, members };
  }
}
