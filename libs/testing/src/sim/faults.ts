import { unreachable } from '@tidemark/base';
import type { Checkers, Site } from './checkers.js';
import type { Network } from './network.js';
import type { Fault, SwarmOptions } from './swarm.js';
import { Violation, type World } from './world.js';

/** Makes each of the run's fault kinds happen now and then, until told to stop; then everything is made whole. */
export class Faults {
  #isStopped = false;
  #nextView = 1;

  constructor(
    private readonly world: World,
    private readonly network: Network,
    private readonly site: Site,
    private readonly checkers: Checkers,
    private readonly options: SwarmOptions,
  ) {}

  start(): void {
    for (const [fault, meanMs] of this.options.faults) this.#schedule(fault, meanMs);
  }

  stop(): void {
    this.#isStopped = true;
    this.network.healAll();
    for (const host of this.site.recovering) {
      host.start();
      host.disk.capacityBytes = Infinity;
      host.disk.failingSyncs = 0;
      host.disk.latencyMsMax = this.options.diskMsMax;
      host.isRetirementPaused = false;
      host.resumeJournals();
    }
    for (const host of this.site.protecting) {
      host.start();
      Object.assign(host, { readErrorChance: 0, writeErrorChance: 0, refuseConfirmChance: 0 });
    }
    this.network.delayMsMax = Math.min(this.network.delayMsMax, 5);
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
    const recovering = random.pick(this.site.recovering);
    const protecting = random.pick(this.site.protecting);
    switch (fault) {
      case 'killRecovering':
      case 'powerLossRecovering':
        recovering.crash(fault === 'powerLossRecovering');
        return this.world.after(random.between(20, 800), () => recovering.start());
      case 'killProtecting':
        protecting.crash(false);
        return this.world.after(random.between(20, 800), () => protecting.start());
      case 'cutOne': return this.network.cutOne();
      case 'cutAll': return this.network.cutAll();
      case 'blockOneWay': return this.#block();
      case 'slowDisk':
        recovering.disk.latencyMsMax = random.pick([5, 40, 200]);
        return this.world.after(random.below(500), () => (recovering.disk.latencyMsMax = this.options.diskMsMax));
      case 'fullDisk':
        recovering.disk.capacityBytes = recovering.disk.usedBytes + random.int(20_000);
        return this.world.after(random.below(1500), () => {
          recovering.disk.capacityBytes = Infinity;
          recovering.resumeJournals();
        });
      case 'failSync':
        if (random.chance(0.2)) recovering.disk.failingSyncs = 1;
        return;
      case 'stepClock':
        random.pick([recovering, protecting]).wallOffsetMs += random.between(-100_000, 100_000);
        return;
      case 'readErrors': return this.#forAWhile(protecting, 'readErrorChance', 0.3);
      case 'writeErrors': return this.#forAWhile(protecting, 'writeErrorChance', 0.1);
      case 'refuseConfirm': return this.#forAWhile(protecting, 'refuseConfirmChance', 0.5);
      case 'insertTagged': return protecting.insertCheckpoint('now');
      case 'openView': return this.#view();
      case 'pauseRetirement':
        recovering.isRetirementPaused = !recovering.isRetirementPaused;
        return;
      default: return unreachable(fault);
    }
  }

  #block(): void {
    const { random } = this.world;
    const names = [...this.site.protecting, ...this.site.recovering].map((host) => host.name);
    const from = random.pick(names);
    const to = random.pick(names);
    if (from !== to) this.network.block(from, to, random.pick([30, 300, 2000, 5000]));
  }

  #forAWhile(host: Site['protecting'][number], what: 'readErrorChance' | 'writeErrorChance' | 'refuseConfirmChance', chance: number): void {
    host[what] = chance;
    this.world.after(this.world.random.below(800), () => (host[what] = 0));
  }

  /** A failover test on one host: while the view is open its checkpoint stays, bytes and all. */
  #view(): void {
    const { random } = this.world;
    const candidates = this.checkers.mustBeHeld();
    const host = random.pick(this.site.recovering);
    if (candidates.length === 0 || !host.areJournalsReady) return;
    const checkpointId = random.pick(candidates);
    const key = `view${this.#nextView}`;
    this.#nextView += 1;
    if (!host.openView(key, checkpointId)) return;
    host.viewOpened(key, checkpointId);
    const opened = host.vmIds.map((vmId) => host.journal(vmId));
    this.world.after(random.below(2500), () => {
      // After a restart of the host views are opened again by their owner; here they end with it.
      if (!host.vmIds.every((vmId, index) => host.journal(vmId) === opened[index])) return;
      for (const vmId of host.vmIds) {
        if (host.journal(vmId)?.engine.checkpoint(checkpointId) === undefined) throw new Violation(`checkpoint ${checkpointId} went away under an open view of ${vmId}`);
        this.checkers.checkImage(host, vmId, checkpointId);
      }
      host.viewClosed(key);
      host.closeView(key);
    });
  }
}
