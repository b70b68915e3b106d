import { BLOCK_BYTES, SECTOR_BYTES } from '@tidemark/base';
import type { Checkers, Site } from './checkers.js';
import { SimFile } from './disk.js';
import type { GuestVm } from './guest-vm.js';
import type { ProtectedSite } from './protected-site.js';
import { Random } from './random.js';
import type { SwarmOptions } from './swarm.js';
import { keyOf, type VpgPlan } from './topology.js';
import type { World } from './world.js';

const ROW = 0x9eb2aba;
const CHANCE = 0.25;
const ATTEMPT_MS = 1500;
const RETRY_MS_MAX = 150;
const DRAIN_POLL_MS = 2;
const VOLUMES_MAX = 5;
/** A volume that is longer than this grows no more: a run is short. */
const VOLUME_BYTES_MAX = 400_000;

/** Of runs whose VMs neither move to the other site nor come back: by a row of numbers of its own. */
export function withVolumeChanges(options: SwarmOptions, seed: number, isChanging?: boolean): SwarmOptions {
  const own = new Random(seed ^ ROW);
  const isFree = options.reverseChance === 0 && !options.faults.has('move');
  const isChosen = isChanging ?? own.chance(CHANCE);
  return isChosen && isFree ? { ...options, volumeChangeMs: own.pick([300, 800, 2000]) } : options;
}

const isSame = (one: readonly number[], other: readonly number[]): boolean => one.length === other.length && one.every((bytes, volume) => bytes === other[volume]);

/** What becomes of the disks of protected VMs: the hypervisor changes them, the recovering VRAs are told until they have answered, and then the protecting ones. */
export class VolumeChanges {
  #isStopped = false;
  readonly #telling = new Set<string>();
  count = 0;

  constructor(private readonly world: World, private readonly site: Site, private readonly manager: ProtectedSite, private readonly checkers: Checkers, private readonly meanMs: number) {}

  start(): void {
    if (this.meanMs > 0) this.#schedule();
  }

  stop(): void {
    this.#isStopped = true;
  }

  #schedule(): void {
    this.world.after(-Math.log(1 - this.world.random.unit()) * this.meanMs, () => {
      if (this.#isStopped) return;
      this.#change(this.world.random.pick([...this.site.vms.values()]));
      this.#schedule();
    });
  }

  #change(vm: GuestVm): void {
    const { random } = this.world;
    const present = vm.volumeBytes.flatMap((bytes, volume) => (bytes > 0 ? [volume] : []));
    const volume = random.pick(present);
    const choice = random.pick(['grow', 'grow', 'add', 'remove'] as const);
    if (choice === 'grow') this.#grow(vm, volume);
    else if (choice === 'add') this.#add(vm);
    else if (present.length > 1) this.#remove(vm, volume);
  }

  #grow(vm: GuestVm, volume: number): void {
    const bytes = vm.volumeBytes[volume] ?? 0;
    const more = this.world.random.pick([SECTOR_BYTES, BLOCK_BYTES, 5 * BLOCK_BYTES + SECTOR_BYTES]);
    if (bytes <= VOLUME_BYTES_MAX) this.#changed(vm, () => vm.grow(volume, bytes + more));
  }

  #add(vm: GuestVm): void {
    const { random } = this.world;
    if (vm.volumeBytes.length >= VOLUMES_MAX) return;
    const file = new SimFile(random.pick([3, 10]) * BLOCK_BYTES);
    file.write(0, new Uint8Array(random.int(file.sizeBytes)).fill(0xdd));
    file.syncNow();
    this.#changed(vm, () => vm.add(file));
  }

  /** The hypervisor takes a disk from the guest: what it had asked for there is done first. */
  #remove(vm: GuestVm, volume: number): void {
    const host = this.manager.hostOf(vm);
    if (vm.isPaused || vm.isShutDown || host === undefined) return;
    vm.isPaused = true;
    const drained = (): void => {
      if (host.isAlive && host.requestsOf(vm.vmId) > 0) return this.world.after(DRAIN_POLL_MS, drained);
      vm.isPaused = false;
      this.#changed(vm, () => vm.remove(volume));
    };
    drained();
  }

  #changed(vm: GuestVm, change: () => void): void {
    // A size that is known is that of the recovery side, from the first change on.
    for (const { volumesOf } of this.#plansOf(vm)) if (!volumesOf.has(vm.vmId)) volumesOf.set(vm.vmId, vm.volumeBytes);
    change();
    this.count += 1;
    for (const plan of this.#plansOf(vm)) this.#tell(plan, vm);
  }

  #plansOf(vm: GuestVm): VpgPlan[] {
    return this.site.plans.filter(({ vms }) => vms.includes(vm));
  }

  #tell(plan: VpgPlan, vm: GuestVm): void {
    const key = keyOf(plan.vpgId, vm.vmId);
    if (this.#telling.has(key)) return;
    this.#telling.add(key);
    this.world.touch();
    void this.#untilTold(plan, vm).then(
      () => this.#telling.delete(key),
      (error: unknown) => this.world.fail(error instanceof Error ? error : new Error(String(error))),
    );
  }

  async #untilTold(plan: VpgPlan, vm: GuestVm): Promise<void> {
    while (!isSame(plan.volumesOf.get(vm.vmId) ?? [], vm.volumeBytes)) {
      await this.world.delay(this.world.random.below(RETRY_MS_MAX));
      // A protection that has ended is told nothing more.
      if (this.checkers.isEnding(plan.vpgId)) return;
      const sizes = vm.volumeBytes;
      if (!(await this.#attempt(plan, vm, sizes))) continue;
      plan.volumesOf.set(vm.vmId, sizes);
      this.manager.publish();
    }
  }

  /** True: answered. A host that dies never answers. */
  async #attempt(plan: VpgPlan, vm: GuestVm, sizes: readonly number[]): Promise<boolean> {
    const host = this.site.recovering.find(({ name }) => name === plan.recoveringHostOf.get(vm.vmId));
    if (host?.isAlive !== true) return false;
    this.world.touch();
    const answered = host.changeVolumes(plan.vpgId, vm.vmId, sizes).then(() => true, () => false);
    return await Promise.race([answered, this.world.delay(ATTEMPT_MS).then(() => false)]);
  }
}

/** A stream has the disks of its VM as they are. */
export const isCurrent = (streamBytes: readonly number[], vm: GuestVm): boolean => isSame(streamBytes, vm.volumeBytes);

export const hasVolumeChanges = (seed: number): boolean => new Random(seed ^ ROW).chance(CHANCE);
