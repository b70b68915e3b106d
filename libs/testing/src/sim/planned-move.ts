import type { Checkers, Site } from './checkers.js';
import { markerKey, type GuestVm, type MarkerRecord } from './guest-vm.js';
import type { Plant } from './plants.js';
import type { ProtectedSite } from './protected-site.js';
import { keyOf, type VpgPlan } from './topology.js';
import { Violation, type World } from './world.js';

const POLL_MS = 20;
const ASK_AGAIN_MS = 300;
const DRAIN_MS = 6000;
const LISTED_MS = 3000;

/** The VMs of a VPG rest, and everything that they have written is before this checkpoint. */
export interface Settled {
  readonly checkpointId: number;
  /** By VM: what the files of its disks looked like then. */
  readonly versions: ReadonlyMap<string, readonly number[]>;
}

/** The first half of a move, as the product does it: VMs off, streams drained, a last checkpoint C, and nothing behind it. */
export class PlannedMove {
  constructor(
    private readonly world: World,
    private readonly site: Site,
    private readonly manager: ProtectedSite,
    private readonly checkers: Checkers,
    private readonly plant: Plant | undefined,
  ) {}

  /** undefined: it cannot be done now, and the VMs stay off until {@link powerOn}. */
  async settled(plan: VpgPlan): Promise<Settled | undefined> {
    const isHasty = this.plant?.flag === 'moveHasty';
    for (const vm of plan.vms) vm.isShutDown = true;
    if (!isHasty && !(await this.#within(DRAIN_MS, () => plan.vms.every((vm) => this.#isDrained(plan, vm))))) return undefined;
    const checkpointId = await this.#lastCheckpoint(plan);
    if (checkpointId === undefined) return undefined;
    const isSettled = plan.vms.every((vm) => this.#isSettled(plan, vm, checkpointId));
    if (!isSettled && !isHasty) return undefined;
    for (const vm of plan.vms) this.#checkNothingLost(vm, this.#markerOf(plan, vm, checkpointId));
    for (const vm of plan.vms) for (const disk of vm.disks) disk.syncNow();
    return { checkpointId, versions: new Map(plan.vms.map((vm) => [vm.vmId, vm.disks.map(({ version }) => version)])) };
  }

  /** What the move began is taken back. */
  powerOn(plan: VpgPlan): void {
    for (const vm of plan.vms) vm.isShutDown = false;
  }

  #isDrained(plan: VpgPlan, vm: GuestVm): boolean {
    const host = this.manager.hostOf(vm);
    const stream = host?.streams.find(({ key }) => key === keyOf(plan.vpgId, vm.vmId));
    const status = stream?.sender.status();
    return host?.isAlive === true && !vm.isPaused && host.requestsOf(vm.vmId) === 0 && status?.state === 'replicating' && status.lagBytes === 0 && status.sync === null;
  }

  /** By the process that placed the marker: another one knows nothing of what was written before it. */
  #isSettled(plan: VpgPlan, vm: GuestVm, checkpointId: number): boolean {
    const marker = this.#markerOf(plan, vm, checkpointId);
    return marker?.captureCount === vm.captureCount && marker.atIndex === vm.capturedCount && this.#isDrained(plan, vm);
  }

  #markerOf({ vpgId }: VpgPlan, vm: GuestVm, checkpointId: number): MarkerRecord | undefined {
    return vm.markers.get(markerKey(vpgId, checkpointId));
  }

  /** The VM rests: its disks are what it has ever completed. */
  #checkNothingLost(vm: GuestVm, marker: MarkerRecord | undefined): void {
    vm.disks.forEach((disk, volume) => {
      const image = marker?.images[volume];
      if (image === undefined || Buffer.compare(image, disk.copy()) !== 0) throw new Violation('lost', `${vm.vmId} is moved, and volume ${volume} of its disks is not what the last checkpoint holds`);
    });
  }

  async #lastCheckpoint(plan: VpgPlan): Promise<number | undefined> {
    const fromMs = this.world.nowMs;
    let askedMs = -Infinity;
    let found: number | undefined;
    await this.#within(LISTED_MS, () => {
      if (this.world.nowMs - askedMs > ASK_AGAIN_MS) {
        askedMs = this.world.nowMs;
        this.manager.insertCheckpoint('move');
      }
      this.checkers.check();
      found = this.checkers.listedOf(plan.vpgId).findLast((id) => plan.vms.every((vm) => (this.#markerOf(plan, vm, id)?.placedAtMs ?? -1) >= fromMs));
      return found !== undefined;
    });
    return found;
  }

  async #within(ms: number, isTrue: () => boolean): Promise<boolean> {
    const endMs = this.world.nowMs + ms;
    while (!isTrue()) {
      if (this.world.nowMs >= endMs) return false;
      await this.world.delay(POLL_MS);
    }
    return true;
  }

  /** Its VMs are in no other VPG: who moves them moves nothing else. */
  isPossible(plan: VpgPlan): boolean {
    return this.site.plans.every((other) => other === plan || other.vms.every((vm) => !plan.vms.includes(vm)));
  }
}
