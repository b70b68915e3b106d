import { Checkers, type Site } from './checkers.js';
import { Faults } from './faults.js';
import { Guests } from './guests.js';
import { GuestVm } from './guest-vm.js';
import { Network } from './network.js';
import type { Plant } from './plants.js';
import { ProtectingHost } from './protecting-host.js';
import { RecoveringHost } from './recovering-host.js';
import type { Surroundings } from './sim-host.js';
import { swarm, type SwarmOptions } from './swarm.js';
import { Violation, World } from './world.js';

const VPG = 'vpg';
const EPOCH = 1;
const CHECK_MS = 100;
/** After the faults: reconnecting after 3 s of silence, initial sync on slow disks, a new leader after 4 intervals. */
const SETTLE_MS = 12_000;

/** A sync block read at once: goes alone when it is longer than frame and credit. */
const LONGEST_RECORD_BYTES = 256 * 1024;

export interface RunResult {
  readonly seed: number;
  readonly options: SwarmOptions;
  /** undefined: everything held. */
  readonly violation: Error | undefined;
  readonly listedCount: number;
  readonly imageChecks: number;
  readonly writeCount: number;
  readonly eventCount: number;
}

/** One whole run: a world, faults for a while, then peace, in which everything must become whole again. */
export function run(seed: number, plant?: Plant): RunResult {
  const undo = plant?.patch?.();
  try {
    return new Run(seed, plant).result();
  } finally {
    undo?.();
  }
}

class Run {
  readonly #world: World;
  readonly #options: SwarmOptions;
  readonly #network: Network;
  readonly #checkers = new Checkers();
  readonly #site: Site;
  readonly #guests: Guests;
  readonly #faults: Faults;
  #isDone = false;

  constructor(seed: number, private readonly plant: Plant | undefined) {
    this.#world = new World(seed);
    this.#options = swarm(this.#world.random);
    this.#network = new Network(this.#world);
    this.#network.delayMsMax = this.#options.delayMsMax;
    this.#network.spikeMsMax = this.#options.spikeMsMax;
    const vms = this.#options.vmVolumeBytes.map((volumeBytes, index) => new GuestVm(`vm${index + 1}`, index + 1, volumeBytes));
    const around: Surroundings = { world: this.#world, network: this.#network, plant: this.plant };
    const protecting = this.#protecting(around, vms);
    const recovering = this.#recovering(around, vms);
    const places = vms.map((vm, index) => ({ vm, host: protecting[index % protecting.length] ?? nobody() }));
    this.#guests = new Guests(this.#world, this.#options, places);
    const { budgetBytes, creditBytesMax, frameBytesMax } = this.#options;
    this.#site = {
      vms: new Map(vms.map((vm) => [vm.vmId, vm])), writes: this.#guests.writes, protecting, recovering, budgetBytes,
      pendingBytesMax: creditBytesMax + Math.max(frameBytesMax, LONGEST_RECORD_BYTES),
    };
    this.#checkers.site = this.#site;
    this.#faults = new Faults(this.#world, this.#network, this.#site, this.#checkers, this.#options);
  }

  result(): RunResult {
    let violation: Error | undefined;
    try {
      this.#act();
    } catch (error) {
      violation = error instanceof Error ? error : new Error(String(error));
    }
    return {
      seed: this.#world.seed, options: this.#options, violation, listedCount: this.#checkers.listed.length, imageChecks: this.#checkers.imageChecks,
      writeCount: this.#guests.writes.size, eventCount: this.#world.eventCount,
    };
  }

  #act(): void {
    for (const host of [...this.#site.recovering, ...this.#site.protecting]) host.start();
    this.#watch(1);
    this.#guests.start();
    this.#faults.start();
    this.#world.runUntil(this.#options.faultPhaseMs);
    this.#faults.stop();
    this.#world.runUntil(this.#options.faultPhaseMs + 500);
    this.#guests.isStopped = true;
    this.#settle();
  }

  #watch(count: number): void {
    this.#world.after(CHECK_MS, () => {
      if (this.#isDone) return;
      this.#checkers.check();
      if (count % 5 === 0) this.#checkers.checkHeads();
      this.#watch(count + 1);
    });
  }

  /** After the faults stop, lag reaches zero, and a checkpoint is listed that equals the protected disks. */
  #settle(): void {
    const isBroken = this.#site.recovering.some((host) => host.vmIds.some((vmId) => host.journal(vmId)?.engine.state.phase === 'broken'));
    const listedBefore = this.#checkers.listed.length;
    const endMs = this.#world.nowMs + SETTLE_MS;
    let listedWhenQuiet: number | undefined;
    while (this.#world.nowMs < endMs) {
      this.#world.runUntil(this.#world.nowMs + 100);
      if (isBroken) continue;
      if (listedWhenQuiet === undefined && this.#isQuiet()) listedWhenQuiet = this.#checkers.listed.length;
      if (listedWhenQuiet !== undefined && this.#checkers.listed.length >= listedWhenQuiet + 2) break;
    }
    this.#isDone = true;
    this.#checkers.check();
    this.#checkers.checkHeads();
    if (isBroken) return;
    if (listedWhenQuiet === undefined) throw new Violation(`lag is not zero ${SETTLE_MS} ms after the last fault: ${this.#lag()}`);
    if (this.#checkers.listed.length === listedBefore) throw new Violation(`no checkpoint was listed in ${SETTLE_MS} ms without faults: ${this.#barriers()}`);
    this.#compareDisks();
  }

  #compareDisks(): void {
    for (const vm of this.#site.vms.values()) {
      vm.captured.forEach((image, volume) => {
        const disk = vm.disks[volume] ?? new Uint8Array();
        if (!image.every((byte, index) => byte === disk[index])) throw new Error(`the simulation lost track of ${vm.vmId}`);
      });
    }
    const newest = this.#checkers.listed.at(-1) ?? 0;
    for (const host of this.#site.recovering) for (const vmId of host.vmIds) this.#checkers.checkImage(host, vmId, newest);
  }

  #isQuiet(): boolean {
    return this.#statuses().every(([, status]) => status.lagBytes === 0 && status.state === 'replicating' && status.sync === null);
  }

  #statuses() {
    return this.#site.protecting.flatMap((host) => [...this.#site.vms.keys()].flatMap((vmId) => {
      const status = host.sender(vmId)?.status();
      return status === undefined ? [] : [[vmId, status] as const];
    }));
  }

  #lag(): string {
    return this.#statuses().map(([vmId, { state, detail, lagBytes }]) => `${vmId} ${state} ${lagBytes} ${detail}`).join('; ');
  }

  #barriers(): string {
    return this.#site.protecting.map((host) => `${host.name} ${JSON.stringify(host.barrier?.status())}`).join('; ');
  }

  #protecting(around: Surroundings, vms: readonly GuestVm[]): ProtectingHost[] {
    const { protectingCount, intervalMs, budgetBytes, frameBytesMax, ioMsMax, holdBoundMs, recoveringCount } = this.#options;
    const names = Array.from({ length: protectingCount }, (_, index) => `p${index + 1}`);
    const vmsOf = (host: number) => vms.filter((_, index) => index % protectingCount === host);
    const members = names.map((vraId, host) => ({ vraId, vmIds: vmsOf(host).map((vm) => vm.vmId) }));
    const barrier = { vpgId: VPG, version: 1, epoch: EPOCH, intervalMs, members };
    return names.map((name, host) => new ProtectingHost(name, around, {
      vpgId: VPG, epoch: EPOCH, barrier, budgetBytes, frameBytesMax, ioMsMax, holdBoundMs,
      vms: vmsOf(host).map((vm) => ({ vm, recoveringHost: `r${(vms.indexOf(vm) % recoveringCount) + 1}` })),
    }));
  }

  #recovering(around: Surroundings, vms: readonly GuestVm[]): RecoveringHost[] {
    const { recoveringCount, segmentBytes, creditBytesMax, historyMs, diskMsMax } = this.#options;
    const names = Array.from({ length: recoveringCount }, (_, index) => `r${index + 1}`);
    const vmsOf = (host: number) => vms.filter((_, index) => index % recoveringCount === host);
    const retirement = {
      vpgId: VPG, epoch: EPOCH, historyMs,
      recoverers: names.map((vraId, host) => ({ vraId, vmIds: vmsOf(host).map((vm) => vm.vmId) })),
    };
    return names.map((name, host) => {
      const made = new RecoveringHost(name, around, { vpgId: VPG, epoch: EPOCH, vms: vmsOf(host), segmentBytes, creditBytesMax, retirement }, this.#checkers);
      made.disk.latencyMsMax = diskMsMax;
      return made;
    });
  }
}

function nobody(): never {
  throw new RangeError('no host');
}
