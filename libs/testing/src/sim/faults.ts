import { unreachable } from '@tidemark/base';
import type { Site } from './checkers.js';
import { DiskFaults } from './disk-faults.js';
import type { Network } from './network.js';
import { ProcessFaults } from './process-faults.js';
import type { RecoverySite } from './recovery-site.js';
import type { SimHost } from './sim-host.js';
import type { SpaceOperator } from './space-operator.js';
import type { Reversal } from './reversal.js';
import type { ProtectedSite } from './protected-site.js';
import type { Fault, SwarmOptions } from './swarm.js';
import { Versions } from './versions.js';
import type { World } from './world.js';

export interface FaultTargets {
  readonly network: Network;
  readonly site: Site;
  readonly manager: ProtectedSite;
  readonly recoverySite: RecoverySite;
  readonly reversal: Reversal;
  readonly space: SpaceOperator;
}

/** A segment of this size has records behind its header and the state of the journal. */
const VOUCHING_BYTES_MIN = 4096;
/** Behind one step of a host's clocks, some looks at them. */
const STEP_GAP_MS = 200;

/** Makes each of the run's fault kinds happen now and then, until told to stop; then everything is made whole. */
export class Faults {
  #isStopped = false;
  /** Storage failed for good somewhere: journals may be broken, and say so. */
  isStorageFailed = false;
  readonly #ofDisks: DiskFaults;
  readonly #ofProcesses: ProcessFaults;
  readonly #versions: Versions;
  readonly #steppedAtMs = new Map<string, number>();

  constructor(private readonly world: World, private readonly targets: FaultTargets, private readonly options: SwarmOptions) {
    this.#ofDisks = new DiskFaults(world, targets.site);
    this.#ofProcesses = new ProcessFaults(world, targets.site);
    this.#versions = new Versions(world, targets.site, (host) => this.#kill(host));
  }

  start(): void {
    for (const [fault, meanMs] of this.options.faults) this.#schedule(fault, meanMs);
  }

  stop(): void {
    this.#isStopped = true;
    const { network, site, manager, recoverySite, reversal } = this.targets;
    network.healAll();
    this.#ofDisks.makeWhole();
    this.#ofProcesses.makeWhole();
    this.#versions.makeWhole();
    for (const host of site.recovering) {
      host.start();
      Object.assign(host.disk, { capacityBytes: Infinity, datastoreBytes: Infinity, failingSyncs: 0, failingAppends: 0, latencyMsMax: this.options.diskMsMax });
      host.isRetirementPaused = false;
    }
    for (const host of site.protecting) {
      host.start();
      host.stateDisk.failingSyncs = 0;
      Object.assign(host, { readErrorChance: 0, writeErrorChance: 0, refuseConfirmChance: 0 });
    }
    network.delayMsMax = Math.min(network.delayMsMax, 5);
    manager.documentMsMax = 5;
    manager.publish();
    reversal.makeWhole();
    recoverySite.isStopping = true;
    if (this.options.space !== undefined) this.targets.space.stop();
  }

  #schedule(fault: Fault, meanMs: number): void {
    this.world.after(-Math.log(1 - this.world.random.unit()) * meanMs, () => {
      if (this.#isStopped) return;
      this.#happen(fault);
      this.#schedule(fault, meanMs);
    });
  }

  #happen(fault: Fault): void {
    const { random } = this.world;
    const { network, site, manager, recoverySite } = this.targets;
    const recovering = random.pick(site.recovering);
    const protecting = random.pick(site.protecting);
    switch (fault) {
      case 'killRecovering': return this.#crashRecovering(recovering, false);
      case 'powerLossRecovering': return this.#crashRecovering(recovering, true);
      case 'killProtecting':
      case 'powerLossProtecting':
        protecting.crash(fault === 'powerLossProtecting');
        return this.world.after(random.between(20, 800), () => protecting.start());
      case 'cutOne': return network.cutOne();
      case 'cutAll': return network.cutAll();
      case 'blockOneWay': return this.#block();
      case 'duplicateConnection': return protecting.isAlive && !protecting.isPaused ? protecting.redial() : undefined;
      case 'slowDisk':
        recovering.disk.latencyMsMax = random.pick([5, 40, 200]);
        return this.world.after(random.below(500), () => (recovering.disk.latencyMsMax = this.options.diskMsMax));
      case 'fullDisk':
        recovering.disk.capacityBytes = Math.min(recovering.disk.datastoreBytes, recovering.disk.usedBytes + random.int(20_000));
        return this.world.after(random.below(1500), () => (recovering.disk.capacityBytes = recovering.disk.datastoreBytes));
      case 'failSync':
      case 'failAppend':
        this.isStorageFailed = true;
        recovering.disk[fault === 'failSync' ? 'failingSyncs' : 'failingAppends'] = 1;
        return;
      case 'rotJournal': return this.#rot(recovering);
      case 'stepClock':
        return this.#stepClock(random.pick([recovering, protecting]), random.between(-100_000, 100_000));
      case 'readErrors': return this.#forAWhile(protecting, 'readErrorChance', 0.3);
      case 'writeErrors': return this.#forAWhile(protecting, 'writeErrorChance', 0.1);
      case 'refuseConfirm': return this.#forAWhile(protecting, 'refuseConfirmChance', 0.5);
      case 'failMarks':
        protecting.stateDisk.failingSyncs = 1;
        return;
      case 'insertTagged': return protecting.whenRunning(() => protecting.insertCheckpoint('now'));
      case 'forceSync': return protecting.whenRunning(() => protecting.forceSync());
      case 'pauseRetirement':
        recovering.isRetirementPaused = !recovering.isRetirementPaused;
        return;
      case 'moveVm': return manager.moveVm(random.pick([...site.vms.values()]), protecting.name);
      case 'repeatDocuments': return manager.publish();
      case 'failoverTest': return recoverySite.test();
      case 'failover': return recoverySite.failover();
      case 'move': return recoverySite.move();
      case 'repeatCommand': return recoverySite.mistake();
      case 'unreadableSector': return this.#ofDisks.unreadableSector();
      case 'misdirectedWrite':
        this.isStorageFailed = this.#ofDisks.misdirectedWrite() || this.isStorageFailed;
        return;
      case 'pause': return this.#ofProcesses.pause();
      case 'otherVersion': return this.#versions.restart();
      case 'pin': return this.targets.space.pin();
      case 'changeHost': return recoverySite.changeHost();
      default: return unreachable(fault);
    }
  }

  /** Mostly the wall clock; where checkpoints age, the other one jumps now and then. */
  #stepClock(host: Site['recovering'][number] | Site['protecting'][number], byMs: number): void {
    // Both clocks of a host forward between two looks at them: time has passed, as far as anybody can know.
    const { nowMs } = this.world;
    if (nowMs - (this.#steppedAtMs.get(host.name) ?? -Infinity) < STEP_GAP_MS) return;
    this.#steppedAtMs.set(host.name, nowMs);
    if (byMs < -30_000 && 'monotonicJumpMs' in host) host.monotonicJumpMs -= byMs;
    else host.wallOffsetMs += byMs;
  }

  #kill(host: SimHost): void {
    const recovering = this.targets.site.recovering.find((each) => each === host);
    if (recovering?.isAlive === true) this.targets.recoverySite.hostCrashed(recovering, false);
    host.crash(false);
  }

  #crashRecovering(host: Site['recovering'][number], isPowerLoss: boolean): void {
    if (host.isAlive) this.targets.recoverySite.hostCrashed(host, isPowerLoss);
    host.crash(isPowerLoss);
    this.world.after(this.world.random.between(20, 800), () => host.start());
  }

  #block(): void {
    const { random } = this.world;
    const names = [...this.targets.site.protecting, ...this.targets.site.recovering].map((host) => host.name);
    const from = random.pick(names);
    const to = random.pick(names);
    if (from !== to) this.targets.network.block(from, to, random.pick([30, 300, 2000, 5000]));
  }

  #forAWhile(host: Site['protecting'][number], what: 'readErrorChance' | 'writeErrorChance' | 'refuseConfirmChance', chance: number): void {
    host[what] = chance;
    this.world.after(this.world.random.below(800), () => (host[what] = 0));
  }

  /**
   * One bit of one segment turns on the medium. What it damages may be lost, loudly; nothing may read as something else. Only where a later segment vouches for
   * it: damage at the very end is like an append that a crash tore, and only a sender that remembers its ack can tell.
   */
  #rot(host: Site['recovering'][number]): void {
    const { random } = this.world;
    const folderOf = (path: string): string => path.slice(0, path.indexOf('/journal/'));
    const filled = [...host.disk.files].filter(([path, file]) => path.includes('/journal/') && path.endsWith('.segment') && file.sizeBytes > VOUCHING_BYTES_MIN);
    const segments = filled.filter(([path]) => filled.some(([later]) => folderOf(later) === folderOf(path) && later > path));
    if (segments.length === 0) return;
    this.isStorageFailed = true;
    this.world.isMediumRotted = true;
    const [path, file] = random.pick(segments);
    file.rot(random.int(file.sizeBytes));
    host.rotted.add(folderOf(path));
    host.unknown.add(folderOf(path));
  }
}
