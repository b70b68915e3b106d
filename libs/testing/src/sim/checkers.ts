import type { CheckpointMarker } from '@tidemark/frame';
import type { GuestVm, KnownWrite } from './guest-vm.js';
import type { ProtectingHost } from './protecting-host.js';
import type { RecoveringHost, RecoveryWatcher } from './recovering-host.js';
import { Violation } from './world.js';

export interface Site {
  readonly vms: ReadonlyMap<string, GuestVm>;
  readonly writes: ReadonlyMap<number, KnownWrite>;
  readonly protecting: readonly ProtectingHost[];
  readonly recovering: readonly RecoveringHost[];
  readonly budgetBytes: number;
  /** What a receiver may hold that is not durable: its credit, or one record that is longer. */
  readonly pendingBytesMax: number;
}

/** What may never happen, checked with the eyes of somebody who sees all hosts at once. */
export class Checkers implements RecoveryWatcher {
  /** Highest acknowledged position per VM. */
  readonly #acked = new Map<string, number>();
  /** Checkpoints that were once listed for the whole VPG, oldest first. */
  readonly listed: number[] = [];
  readonly #isListed = new Set<number>();
  /** The oldest checkpoint that must still be there: retirement has moved up to it. */
  #floorId = 0;
  #site: Site | undefined;
  imageChecks = 0;

  set site(site: Site) {
    this.#site = site;
  }

  get site(): Site {
    if (this.#site === undefined) throw new Error('no site yet');
    return this.#site;
  }

  // ---- events

  acknowledged(vmId: string, durableSeq: number): void {
    this.#acked.set(vmId, Math.max(this.#acked.get(vmId) ?? 0, durableSeq));
  }

  /** `retire` is durable for the whole VPG before any VM of it applies. */
  mayApply(vraId: string, checkpointId: number): void {
    for (const host of this.site.recovering) {
      for (const vmId of host.vmIds) {
        const engine = host.journal(vmId)?.engine;
        const markerSeq = engine?.checkpoint(checkpointId)?.markerSeq ?? 0;
        if (engine === undefined || retiredFloor(host, vmId) > checkpointId) continue;
        if (markerSeq === 0 || engine.durable.retiredSeq < markerSeq) {
          throw new Violation(`${vraId} may apply up to checkpoint ${checkpointId}, and the journal of ${vmId} has not durably retired what is older`);
        }
      }
    }
  }

  /** After a crash: what was acknowledged is there, and so is every checkpoint that was listed. */
  journalOpened(host: RecoveringHost, vmId: string): void {
    const engine = host.journal(vmId)?.engine;
    if (engine === undefined) return;
    const acked = this.#acked.get(vmId) ?? 0;
    if (engine.durable.lastSeq < acked) {
      throw new Violation(`${vmId}: acknowledged up to ${acked}, after the crash the journal ends at ${engine.durable.lastSeq}`);
    }
    // A retirement whose answer was lost in the crash may be durable all the same.
    this.#refreshFloor();
    for (const checkpointId of this.mustBeHeld()) {
      this.#checkHeld(host, vmId, checkpointId);
      this.checkImage(host, vmId, checkpointId);
    }
  }

  // ---- checks at any time

  /** Newly listed checkpoints are looked at closely; those listed before must still be there; limits hold. */
  check(): void {
    this.#refreshFloor();
    for (const marker of this.#newlyListed()) {
      this.#isListed.add(marker.checkpointId);
      this.listed.push(marker.checkpointId);
      this.#checkCut(marker);
      this.#eachJournal((host, vmId) => this.checkImage(host, vmId, marker.checkpointId));
    }
    for (const checkpointId of this.mustBeHeld()) this.#eachJournal((host, vmId) => this.#checkHeld(host, vmId, checkpointId));
    this.#eachJournal((host, vmId) => {
      const pendingBytes = host.pendingBytes(vmId);
      if (pendingBytes > this.site.pendingBytesMax) throw new Violation(`${host.name} holds ${pendingBytes} bytes of ${vmId} that are not durable`);
    });
    for (const host of this.site.protecting) {
      if (host.isAlive && host.budget.usedBytes > this.site.budgetBytes) throw new Violation(`${host.name} uses ${host.budget.usedBytes} bytes of its budget of ${this.site.budgetBytes}`);
    }
  }

  /** A captured write that is not durable remotely is in the queue or the bitmap: with no lag, both sides are equal. */
  checkHeads(): void {
    for (const protectingHost of this.site.protecting) {
      for (const [vmId, vm] of this.site.vms) {
        const status = protectingHost.sender(vmId)?.status();
        if (status?.state !== 'replicating' || status.lagBytes > 0) continue;
        this.#eachJournal((host, recovered) => {
          if (recovered !== vmId) return;
          const journal = host.journal(vmId);
          if (journal === undefined || journal.engine.durable.lastSeq < status.ackedSeq) return;
          vm.captured.forEach((image, volume) => this.#compare(`${vmId} with no lag`, volume, journal.imageBefore(volume, undefined), image));
        });
      }
    }
  }

  #refreshFloor(): void {
    this.#floorId = Math.max(this.#floorId, ...this.site.recovering.flatMap((host) => host.vmIds.map((vmId) => retiredFloor(host, vmId))));
  }

  mustBeHeld(): number[] {
    return this.listed.filter((checkpointId) => checkpointId >= this.#floorId);
  }

  /** The image at C equals the protected disks after exactly the writes before C. */
  checkImage(host: RecoveringHost, vmId: string, checkpointId: number): void {
    const journal = host.journal(vmId);
    const held = journal?.engine.checkpoint(checkpointId);
    const marker = this.site.vms.get(vmId)?.markers.get(checkpointId);
    if (journal === undefined || held === undefined) return;
    if (marker === undefined) throw new Violation(`${vmId} holds checkpoint ${checkpointId}, which nobody marked`);
    this.imageChecks += 1;
    marker.images.forEach((image, volume) => this.#compare(`${vmId} at checkpoint ${checkpointId}`, volume, journal.imageBefore(volume, held), image));
  }

  #compare(what: string, volume: number, found: Uint8Array, expected: Uint8Array): void {
    const at = found.findIndex((byte, index) => byte !== expected[index]);
    if (at < 0 && found.byteLength === expected.byteLength) return;
    throw new Violation(`${what}: volume ${volume} differs at byte ${at}: ${found[at] ?? 'nothing'} instead of ${expected[at] ?? 'nothing'}`);
  }

  #checkHeld(host: RecoveringHost, vmId: string, checkpointId: number): void {
    const engine = host.journal(vmId)?.engine;
    if (engine === undefined || engine.checkpoint(checkpointId) !== undefined) return;
    throw new Violation(`checkpoint ${checkpointId} was listed and is gone from the journal of ${vmId}`);
  }

  /** In every journal, of the VM set that the marker names. */
  #newlyListed(): CheckpointMarker[] {
    if (!this.site.recovering.every((host) => host.areJournalsReady)) return [];
    const heldBy = (vmId: string) => this.site.recovering.flatMap((host) => host.held(vmId));
    const [first] = this.site.vms.keys();
    if (first === undefined) return [];
    return heldBy(first).map((held) => held.marker).filter(({ checkpointId, vmIds }) => {
      if (this.#isListed.has(checkpointId) || checkpointId < this.#floorId) return false;
      return vmIds.every((vmId) => heldBy(vmId).some((held) => held.checkpointId === checkpointId));
    });
  }

  /** Of two dependent writes none, both, or only the first. */
  #checkCut({ checkpointId }: CheckpointMarker): void {
    const isInside = (write: KnownWrite): boolean => {
      const marker = this.site.vms.get(write.vmId)?.markers.get(checkpointId);
      return marker !== undefined && write.capturedIndex !== undefined && write.capturedIndex <= marker.atIndex;
    };
    for (const write of this.site.writes.values()) {
      if (!isInside(write)) continue;
      for (const id of write.after) {
        const earlier = this.site.writes.get(id);
        if (earlier !== undefined && !isInside(earlier)) throw new Violation(`checkpoint ${checkpointId} holds write ${write.id} and not write ${id}, on which it depends`);
      }
    }
  }

  #eachJournal(visit: (host: RecoveringHost, vmId: string) => void): void {
    for (const host of this.site.recovering) for (const vmId of host.vmIds) if (host.isAlive) visit(host, vmId);
  }
}

function retiredFloor(host: RecoveringHost, vmId: string): number {
  const engine = host.journal(vmId)?.engine;
  if (engine === undefined || engine.durable.retiredSeq === 0) return 0;
  return engine.checkpoints.find((held) => held.markerSeq === engine.durable.retiredSeq)?.checkpointId ?? 0;
}
