import { SECTOR_BYTES } from '@tidemark/base';
import type { DirtyBitmap } from '@tidemark/extent';
import type { Checkers, Site } from './checkers.js';
import type { SimFile } from './disk.js';
import { GuestVm } from './guest-vm.js';
import { Guests } from './guests.js';
import type { Settled } from './planned-move.js';
import { ProtectedSite } from './protected-site.js';
import { ProtectingHost } from './protecting-host.js';
import { RecoveringHost } from './recovering-host.js';
import type { Surroundings } from './sim-host.js';
import type { RecoveredVm } from './sim-recovery.js';
import { SimSpace } from './sim-space.js';
import type { SwarmOptions } from './swarm.js';
import { keyOf, type VpgPlan } from './topology.js';

/** A VM of a committed failover or move, on its promoted disks. */
export interface Promoted {
  readonly vmId: string;
  readonly images: readonly Uint8Array[];
  /** What it has changed since the checkpoint that its view showed; undefined: nobody knows. */
  readonly changes: { readonly basisId: string; readonly bitmaps: readonly DirtyBitmap[] } | undefined;
}

interface Origin {
  readonly promoted: readonly Promoted[];
  readonly settled: Settled | undefined;
}

interface RecoveryDisks {
  readonly vm: RecoveredVm;
  readonly files: readonly SimFile[];
}

/** Until the old site answers. */
const OLD_SITE_MS_MAX = [20, 20, 800] as const;
const POLL_MS = 20;
/** More than one run's guests ever write. */
const WRITE_IDS = 1_000_000;
/** Somebody starts the old VM once more before its disks become mirrors. */
const OLD_VM_WRITES_CHANCE = 0.6;

/**
 * Protection turns round: the recovered VMs run at hosts of their own and are protected into the disks that the old ones had. The VPG of the new direction is one more for the
 * checkers, the faults and the operators; its journals, numbers and epochs begin anew.
 */
export class Reversal {
  readonly #guests: Guests[] = [];
  readonly #managers: ProtectedSite[] = [];
  #isStopped = false;
  #count = 0;

  constructor(
    private readonly around: Surroundings,
    private readonly site: Site,
    private readonly checkers: Checkers,
    private readonly oldManager: ProtectedSite,
    private readonly options: SwarmOptions,
  ) {}

  get writeCount(): number {
    return this.#guests.reduce((sum, { writes }) => sum + writes.size, 0);
  }

  get count(): number {
    return this.#count;
  }

  stopGuests(): void {
    this.#isStopped = true;
    for (const guests of this.#guests) guests.isStopped = true;
  }

  makeWhole(): void {
    for (const manager of this.#managers) {
      manager.documentMsMax = 5;
      manager.publish();
    }
  }

  /** `epoch` is above all that the VPG has ever reserved; `settled` is there after a move. */
  async reverse(plan: VpgPlan, epoch: number, from: Origin): Promise<void> {
    this.#count += 1;
    const serial = this.#count;
    const vms = from.promoted.map((promoted, index) => this.#runAgain(plan, promoted, index));
    const manager = this.#protectingSite(serial, vms);
    const { random } = this.around.world;
    await this.around.world.delay(random.below(random.pick(OLD_SITE_MS_MAX)));
    await this.#retireOld(plan);
    const recovering = this.#recoveringHosts(serial, plan, vms.length);
    const reversed: VpgPlan = {
      ...plan, vpgId: `${plan.vpgId}r`, vms, epoch, isReversed: true, volumesOf: new Map(),
      recoveringHostOf: new Map(vms.map(({ vmId }, index) => [vmId, recovering[index % recovering.length] ?? ''])),
    };
    this.#startRecovering(reversed, recovering, this.#oldDisks(plan, reversed, from));
    this.site.plans.push(reversed);
    manager.protect(reversed);
  }

  #runAgain(plan: VpgPlan, { vmId, images, changes }: Promoted, index: number): GuestVm {
    const old = plan.vms[index];
    const vm = new GuestVm(`${vmId}r`, index + 1, old?.volumeBytes ?? []);
    images.forEach((image, volume) => {
      vm.disks[volume]?.write(0, image);
      vm.disks[volume]?.syncNow();
    });
    // Until a VRA has them open nothing is captured, and a run may end before.
    vm.captured = vm.disks.map((disk) => disk.copy());
    vm.changes = changes;
    return vm;
  }

  /** Attached and not protected: what the guests write is only remembered. */
  #protectingSite(serial: number, vms: GuestVm[]): ProtectedSite {
    const { world } = this.around;
    const names = vms.length > 1 && world.random.chance(0.5) ? [`q${serial}a`, `q${serial}b`] : [`q${serial}a`];
    const hosts = names.map((name) => new ProtectingHost(name, this.around, { ...this.options, peerNames: names }));
    vms.forEach((vm, index) => (vm.runsOn = names[index % names.length] ?? ''));
    const byName = new Map(hosts.map((host) => [host.name, host]));
    const manager = new ProtectedSite(world, { plans: [], vms, isLockless: this.options.isLockless }, byName);
    for (const host of hosts) host.start();
    manager.documentMsMax = this.#isStopped ? 5 : this.options.documentMsMax;
    manager.begin();
    this.site.protecting.push(...hosts);
    for (const vm of vms) this.site.vms.set(vm.vmId, vm);
    const guests = new Guests(world, this.options, vms, byName, 1 + serial * WRITE_IDS);
    guests.isStopped = this.#isStopped;
    guests.start();
    this.#guests.push(guests);
    this.#managers.push(manager);
    return manager;
  }

  /** Nothing of the old direction is sent any more, and nobody has the old disks open. */
  async #retireOld(plan: VpgPlan): Promise<void> {
    const isResting = (vm: GuestVm): boolean => {
      const host = this.oldManager.hostOf(vm);
      return host?.isAlive !== true || host.requestsOf(vm.vmId) === 0;
    };
    for (const vm of plan.vms) vm.isShutDown = true;
    await this.#until(() => plan.vms.every(isResting));
    this.oldManager.retire(plan);
    await this.#until(() => plan.vms.every((vm) => vm.servedBy === ''));
    // The lock is the new VRA's from here on. Disks without one are left alone, whoever opens them.
    for (const vm of plan.vms) {
      if (!this.options.isLockless) vm.servedBy = 'the recovering VRA of the other direction';
      this.site.vms.delete(vm.vmId);
    }
    const { random } = this.around.world;
    for (const { disks } of plan.vms) if (random.chance(OLD_VM_WRITES_CHANCE)) disks[0]?.write(SECTOR_BYTES * random.int(disks[0].sizeBytes / SECTOR_BYTES), new Uint8Array(SECTOR_BYTES).fill(0xee));
  }

  /** Disks without a lock are left alone: new ones are made beside them. */
  #oldDisks(plan: VpgPlan, { vpgId }: VpgPlan, { promoted, settled }: Origin): RecoveryDisks[] {
    return plan.vms.map((old, index) => {
      const basisId = promoted[index]?.changes?.basisId;
      const versions = settled?.versions.get(old.vmId);
      const vm: RecoveredVm = {
        vpgId, vmId: `${old.vmId}r`, volumeBytes: old.volumeBytes, isPreseeded: !this.options.isLockless,
        space: this.options.space && new SimSpace(this.options.space, old.volumeBytes, this.options.creditBytesMax),
        basis: basisId !== undefined && versions !== undefined && !this.options.isLockless ? { basisId, versions } : undefined,
      };
      return { vm, files: this.options.isLockless ? [] : old.disks };
    });
  }

  #recoveringHosts(serial: number, { vms }: VpgPlan, vmCount: number): string[] {
    return vms.length > 1 && vmCount > 1 && this.around.world.random.chance(0.5) ? [`s${serial}a`, `s${serial}b`] : [`s${serial}a`];
  }

  #startRecovering(plan: VpgPlan, names: readonly string[], disks: readonly RecoveryDisks[]): void {
    const { segmentBytes, creditBytesMax, diskMsMax, isGuarded } = this.options;
    const ofHost = (name: string) => disks.filter(({ vm }) => plan.recoveringHostOf.get(vm.vmId) === name);
    const recoverers = names.map((vraId) => ({ vraId, vmIds: ofHost(vraId).map(({ vm }) => vm.vmId) }));
    this.checkers.added(plan);
    for (const name of names) {
      const own = ofHost(name);
      const config = { vpgId: plan.vpgId, epoch: plan.epoch, historyMs: plan.historyMs, recoverers };
      const host = new RecoveringHost(name, this.around, {
        peerNames: names, vms: own.map(({ vm }) => vm), retirements: [{ config, vmIds: own.map(({ vm }) => vm.vmId) }], epoch: plan.epoch, segmentBytes, creditBytesMax, isGuarded,
      }, this.checkers);
      host.disk.latencyMsMax = diskMsMax;
      for (const { vm, files } of own) files.forEach((file, volume) => host.disk.adopt(`${keyOf(vm.vpgId, vm.vmId)}/mirror/${volume}`, file));
      this.site.recovering.push(host);
      host.start();
    }
  }

  async #until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await this.around.world.delay(POLL_MS);
  }
}
