import type { BarrierConfig } from '@tidemark/checkpoint';
import { isLetGo, VraCustody, type VraWord } from '@tidemark/vpg';
import type { GuestVm } from './guest-vm.js';
import type { ProtectingHost } from './protecting-host.js';
import type { DesiredState, VpgPlan } from './topology.js';
import type { World } from './world.js';

const DRAIN_POLL_MS = 2;

export interface ProtectedVms {
  readonly plans: VpgPlan[];
  readonly vms: GuestVm[];
  readonly isLockless: boolean;
}

/** A host's VRA as the manager knows it. */
interface Known {
  readonly custody: VraCustody;
  word: VraWord | undefined;
  /** Of the newest word that came. */
  serial: number;
  /** VMs in the newest document. */
  given: string;
}

/** The protected site's manager: knows where each VM runs and tells the hosts what to do, late, twice, and out of order. */
export class ProtectedSite {
  #revision = 0;
  /** By VPG. */
  readonly #versions = new Map<string, number>();
  readonly #members = new Map<string, string>();
  readonly #known = new Map<string, Known>();
  #wordSerial = 0;
  /** Longest way of a document to a host, ms. */
  documentMsMax = 5;

  constructor(
    private readonly world: World,
    private readonly site: ProtectedVms,
    private readonly hosts: ReadonlyMap<string, ProtectingHost>,
  ) {
    for (const [name, host] of hosts) {
      const known: Known = { custody: new VraCustody(), word: undefined, serial: 0, given: '' };
      this.#known.set(name, known);
      host.onWord = (word) => this.#said(known, word);
    }
  }

  /** Words take their time, and one never passes another. */
  #said(known: Known, word: VraWord): void {
    this.#wordSerial += 1;
    const serial = this.#wordSerial;
    this.world.after(this.world.random.below(this.documentMsMax), () => {
      if (serial < known.serial) return;
      Object.assign(known, { word, serial });
      const hasNews = [...this.#known].some(([name, { given }]) => given !== idsOf(this.#vmsOf(name)));
      if (hasNews) this.publish();
    });
  }

  /** Files have locks. Where there are none, the VRA of the VM's host serves it when all others have let go. */
  #vmsOf(name: string): readonly GuestVm[] {
    const vms = this.site.vms.filter((vm) => vm.runsOn === name);
    if (!this.site.isLockless) return vms;
    const others = [...this.#known].flatMap(([other, known]) => (other === name ? [] : [known]));
    return vms.filter(({ vmId }) => isLetGo(vmId, this.#known.get(name), others));
  }

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
    const host = this.hosts.get(name);
    const deliver = (): void => host?.whenRunning(() => host.apply(document));
    this.world.after(random.below(this.documentMsMax), deliver);
    // An operator, or a retry, sends the same once more, after newer ones.
    if (random.chance(0.2)) this.world.after(random.below(20 * this.documentMsMax), deliver);
  }

  protect(plan: VpgPlan): void {
    this.site.plans.push(plan);
    this.publish();
  }

  /** Its VMs were failed over or moved: they are powered off here and leave the inventory, whatever still runs of them. */
  retire(plan: VpgPlan): void {
    this.site.plans.splice(this.site.plans.indexOf(plan), 1);
    for (const vm of plan.vms) this.site.vms.splice(this.site.vms.indexOf(vm), 1);
    this.publish();
  }

  hostOf(vm: GuestVm): ProtectingHost | undefined {
    return this.hosts.get(vm.runsOn);
  }

  insertCheckpoint(tag: string): void {
    for (const host of this.hosts.values()) if (host.isAlive && !host.isPaused) host.insertCheckpoint(tag);
  }

  /** Live migration: the guest stops when its requests are done, runs on elsewhere, and only then do the VRAs hear of it. */
  moveVm(vm: GuestVm, to: string): void {
    const from = this.hosts.get(vm.runsOn);
    if (vm.isPaused || from === undefined || vm.runsOn === to || !this.hosts.has(to)) return;
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
    const barriers = this.site.plans.map((plan) => this.#barrier(plan));
    return new Map([...this.hosts.keys()].map((name) => {
      const vms = this.#vmsOf(name);
      const known = this.#known.get(name);
      known?.custody.told(this.#revision, vms.map(({ vmId }) => vmId));
      if (known) known.given = idsOf(vms);
      const protections = this.site.plans.flatMap((plan) => plan.vms.filter((vm) => vm.runsOn === name).map((vm) => ({
        vpgId: plan.vpgId, vm, recoveringHost: plan.recoveringHostOf.get(vm.vmId) ?? '', epoch: plan.epoch, volumeBytes: plan.volumesOf.get(vm.vmId) ?? vm.volumeBytes,
      })));
      const own = barriers.filter(({ members }) => members.some(({ vraId }) => vraId === name));
      return [name, { revision: this.#revision, vms, protections, barriers: own }];
    }));
  }

  /** A new version whenever the members or the interval change. */
  #barrier({ vpgId, vms, intervalMs, epoch }: VpgPlan): BarrierConfig {
    const members = [...this.hosts.keys()]
      .map((vraId) => ({ vraId, vmIds: vms.filter((vm) => vm.runsOn === vraId).map((vm) => vm.vmId) }))
      .filter(({ vmIds }) => vmIds.length > 0);
    const print = JSON.stringify({ members, intervalMs });
    if (this.#members.get(vpgId) !== print) {
      this.#members.set(vpgId, print);
      this.#versions.set(vpgId, (this.#versions.get(vpgId) ?? 0) + 1);
    }
    return { vpgId, version: this.#versions.get(vpgId) ?? 1, epoch, intervalMs, members };
  }
}

const idsOf = (vms: readonly GuestVm[]): string => vms.map(({ vmId }) => vmId).join(' ');
