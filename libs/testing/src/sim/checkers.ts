import type { CheckpointMarker } from '@tidemark/frame';
import type { RefusedReply } from '@tidemark/replication';
import { markerKey, type GuestVm } from './guest-vm.js';
import type { ProtectingHost } from './protecting-host.js';
import type { RecoveringHost, RecoveryWatcher, ViewSpec } from './recovering-host.js';
import type { SimRecovery } from './sim-recovery.js';
import { SpaceChecker } from './space-checker.js';
import { keyOf, type VpgPlan } from './topology.js';
import { Violation, type World } from './world.js';

export interface Site {
  readonly vms: Map<string, GuestVm>;
  readonly plans: VpgPlan[];
  readonly protecting: ProtectingHost[];
  readonly recovering: RecoveringHost[];
  readonly budgetBytes: number;
  /** What a receiver may hold that is not durable: its credit, or one record that is longer. */
  readonly pendingBytesMax: number;
}

interface History {
  readonly plan: VpgPlan;
  /** Checkpoints that were once listed for the whole VPG, oldest first. */
  listed: number[];
  readonly isListed: Set<number>;
  /** The oldest checkpoint that must still be there: retirement has been decided up to it. */
  floorId: number;
  /** A failover was committed: the history ends, and said so before. */
  isEnding: boolean;
}

/** Ages on a host's own clock may be off by its drift. */
const AGE_SHARE_MIN = 0.99;
const IMAGES_AFTER_CRASH_MAX = 4;

/** What may never happen, checked with the eyes of somebody who sees all hosts at once. */
export class Checkers implements RecoveryWatcher {
  /** Highest acknowledged position per protection. */
  readonly #acked = new Map<string, number>();
  readonly #histories = new Map<string, History>();
  /** Protections whose commit was answered, with the epoch in force since. */
  readonly #ended = new Map<string, number>();
  readonly #burned = new Set<string>();
  readonly #views = new Map<string, ViewSpec>();
  imageChecks = 0;
  readonly space: SpaceChecker;

  constructor(private readonly world: World, readonly site: Site) {
    this.space = new SpaceChecker(site);
    for (const plan of site.plans) this.added(plan);
  }

  /** A VPG that begins now. */
  added(plan: VpgPlan): void {
    this.#histories.set(plan.vpgId, { plan, listed: [], isListed: new Set(), floorId: 0, isEnding: false });
  }

  get listedCount(): number {
    return [...this.#histories.values()].reduce((sum, { listed }) => sum + listed.length, 0);
  }

  listedOf(vpgId: string): readonly number[] {
    return this.#of(vpgId).listed;
  }

  /** Only grows: what a wrong bit took away was listed too. */
  listedEver(vpgId: string): number {
    return this.#of(vpgId).isListed.size;
  }

  // ---- events

  acknowledged(key: string, durableSeq: number): void {
    if (this.#ended.has(key)) throw new Violation('ownership', `${key}: a write of an older epoch was acknowledged after the failover was committed`);
    this.#acked.set(key, Math.max(this.#acked.get(key) ?? 0, durableSeq));
  }

  /** A protection ends here with a commit only, and then the old side hears who owns its VMs. */
  refused(key: string, { code, message }: RefusedReply): void {
    if (code === 'unknown') throw new Violation('ownership', `${key}: its stream was refused (${message}), and not fenced`);
  }

  /** What a retirement may drop: nothing that the history window, a view or a failover still needs. */
  mayRetire(vpgId: string, checkpointId: number): void {
    const history = this.#of(vpgId);
    if (!history.isListed.has(checkpointId) && checkpointId > history.floorId) {
      this.check();
      if (!history.isListed.has(checkpointId)) throw new Violation('retirement', `${vpgId}: retirement up to ${checkpointId}, which was never listed`);
    }
    const ages = history.plan.vms.map((vm) => this.world.nowMs - (vm.markers.get(markerKey(vpgId, checkpointId))?.placedAtMs ?? 0));
    // What somebody has begun is brought to its end, whatever the history is by then.
    const isYoung = checkpointId > history.floorId && Math.max(...ages) < history.plan.historyMs * AGE_SHARE_MIN;
    if (isYoung && !this.space.mayRetireEarly(vpgId, checkpointId, this.mustBeHeld(vpgId))) throw new Violation('retirement', `${vpgId}: checkpoint ${checkpointId} becomes the oldest at an age of ${Math.max(...ages)} ms`);
    const pin = [...this.#views.values()].find((view) => view.vpgId === vpgId && view.checkpointId < checkpointId);
    if (pin !== undefined) throw new Violation('pin', `${vpgId}: retirement up to ${checkpointId} while ${pin.viewId} of ${pin.vmId} shows ${pin.checkpointId}`);
    this.space.checkPins(vpgId, checkpointId);
    history.floorId = Math.max(history.floorId, checkpointId);
  }

  wished(recovery: SimRecovery, checkpointId: number): void {
    this.space.wished(recovery, checkpointId);
  }

  /** `retire` is durable for the whole VPG before any VM of it applies. */
  mayApply(vpgId: string, checkpointId: number): void {
    for (const { vmId } of this.#of(vpgId).plan.vms) {
      const key = keyOf(vpgId, vmId);
      if (this.site.recovering.some((host) => (host.retiredIds.get(key) ?? 0) >= checkpointId)) continue;
      throw new Violation('apply', `${vpgId} may apply up to checkpoint ${checkpointId}, and the journal of ${key} has not durably retired what is older`);
    }
  }

  /** After a crash: what was acknowledged is there, and so is every checkpoint that was listed. */
  journalOpened(_host: RecoveringHost, recovery: SimRecovery): void {
    const { vpgId, vmId } = recovery.vm;
    const stats = recovery.journal?.stats();
    if (stats?.state.phase === 'broken') this.journalBroke(recovery);
    const acked = this.#acked.get(recovery.key) ?? 0;
    if (stats !== undefined && stats.durableSeq < acked) {
      throw new Violation('lost', `${recovery.key}: acknowledged up to ${acked}, after the crash the journal ends at ${stats.durableSeq}`);
    }
    const committed = this.#ended.get(recovery.key);
    if (committed !== undefined && stats?.epoch !== committed) throw new Violation('ownership', `${recovery.key}: epoch ${committed} was committed, after the crash ${stats?.epoch} is in force`);
    const mustBeHeld = this.mustBeHeld(vpgId);
    for (const checkpointId of mustBeHeld) this.#checkHeld(recovery, checkpointId);
    for (const checkpointId of [...mustBeHeld.slice(0, 1), ...mustBeHeld.slice(1).slice(-IMAGES_AFTER_CRASH_MAX)]) this.#checkImage(recovery, vmId, checkpointId);
  }

  /** What lay behind a wrong bit is lost, and the journal says so: from then on it goes on in a new generation, without what it has lost. */
  journalBroke(recovery: SimRecovery): void {
    const { journal, key, vm } = recovery;
    if (journal === undefined || !this.#isRotted(recovery)) return;
    this.#acked.set(key, Math.min(this.#acked.get(key) ?? 0, journal.stats().durableSeq));
    const history = this.#of(vm.vpgId);
    history.listed = history.listed.filter((checkpointId) => checkpointId < history.floorId || journal.holds(checkpointId));
  }

  /** From here on these may be gone from any journal, and the others must show what they showed. */
  thinned(vpgId: string, checkpointIds: readonly number[]): void {
    const history = this.#of(vpgId);
    history.listed = history.listed.filter((checkpointId) => !checkpointIds.includes(checkpointId));
  }

  viewOpened(spec: ViewSpec): void {
    this.#views.set(spec.viewId, spec);
  }

  viewClosed({ viewId }: ViewSpec): void {
    this.#views.delete(viewId);
  }

  /** Before the first VM of a failover runs, the newer epoch is durable in every journal of its VPG. */
  poweringOn(vpgId: string): void {
    for (const recovery of this.#recoveries(vpgId)) {
      const stats = recovery.journal?.stats();
      // A reservation behind a wrong bit is lost with everything else there, loudly.
      if (stats !== undefined && stats.reservedEpoch === null && !this.#isRotted(recovery)) throw new Violation('ownership', `${vpgId}: a recovered VM is started, and ${recovery.key} has no epoch reserved`);
    }
  }

  ending(vpgId: string): void {
    this.#of(vpgId).isEnding = true;
    for (const [viewId, view] of this.#views) if (view.vpgId === vpgId) this.#views.delete(viewId);
  }

  isEnding(vpgId: string): boolean {
    return this.#of(vpgId).isEnding;
  }

  ended(key: string, epoch: number): void {
    this.#ended.set(key, epoch);
  }

  burned(key: string, epoch: number): void {
    this.#burned.add(`${key}@${epoch}`);
  }

  isBurned(key: string, epoch: number): boolean {
    return this.#burned.has(`${key}@${epoch}`);
  }

  // ---- checks at any time

  /** Newly listed checkpoints are looked at closely; those listed before must still be there; limits hold. */
  check(): void {
    for (const history of this.#histories.values()) if (!history.isEnding) this.#checkHistory(history);
    for (const host of this.site.recovering) {
      for (const { receiver, key } of host.recoveries) {
        const { pendingBytes } = receiver.status();
        if (pendingBytes > this.site.pendingBytesMax) throw new Violation('limit', `${host.name} holds ${pendingBytes} bytes of ${key} that are not durable`);
      }
    }
    for (const host of this.site.protecting) {
      if (host.isAlive && host.budget.usedBytes > this.site.budgetBytes) throw new Violation('limit', `${host.name} uses ${host.budget.usedBytes} bytes of its budget of ${this.site.budgetBytes}`);
    }
    for (const key of this.#burned) this.#checkBurned(key);
    this.space.check();
  }

  #checkHistory(history: History): void {
    const { vpgId } = history.plan;
    for (const marker of this.#newlyListed(history)) {
      history.isListed.add(marker.checkpointId);
      history.listed.push(marker.checkpointId);
      this.#checkCut(history.plan, marker);
      this.checkEverywhere(vpgId, marker.checkpointId);
    }
    for (const checkpointId of this.mustBeHeld(vpgId)) for (const recovery of this.#recoveries(vpgId)) this.#checkHeld(recovery, checkpointId);
  }

  /** A captured write that is not durable remotely is in the queue or the bitmap: with no lag, both sides are equal. */
  checkHeads(): void {
    for (const host of this.site.protecting) {
      for (const { sender, key, plan } of host.streams) {
        const status = sender.status();
        if (plan.vm.runsOn !== host.name || status.state !== 'replicating' || status.lagBytes > 0) continue;
        const recovery = this.#recoveries(plan.vpgId).find((one) => one.key === key);
        const durableSeq = recovery?.journal?.stats().durableSeq ?? -1;
        if (recovery === undefined || durableSeq < status.ackedSeq || this.#ended.has(key) || this.#isUnknown(recovery)) continue;
        plan.volumeBytes.forEach((bytes, volume) => this.#compare('head', `${key} with no lag`, volume, recovery.imageBefore(volume, Infinity).subarray(0, bytes), plan.vm.captured[volume]?.subarray(0, bytes) ?? new Uint8Array()));
      }
    }
  }

  mustBeHeld(vpgId: string): number[] {
    const { listed, floorId, isEnding } = this.#of(vpgId);
    return isEnding ? [] : listed.filter((checkpointId) => checkpointId >= floorId);
  }

  checkEverywhere(vpgId: string, checkpointId: number): void {
    if (this.isEnding(vpgId)) return;
    for (const recovery of this.#recoveries(vpgId)) this.#checkImage(recovery, recovery.vm.vmId, checkpointId);
  }

  /** The image at C equals the protected disks after exactly the writes before C. */
  #checkImage(recovery: SimRecovery, vmId: string, checkpointId: number): void {
    const held = recovery.held().find((one) => one.checkpointId === checkpointId);
    const marker = this.site.vms.get(vmId)?.markers.get(markerKey(recovery.vm.vpgId, checkpointId));
    // A wrong bit on the medium is found by who reads it: views and scrub, not by this look at the bytes.
    if (held === undefined || this.#isUnknown(recovery)) return;
    if (marker === undefined) throw new Violation('image', `${recovery.key} holds checkpoint ${checkpointId}, which nobody marked`);
    this.imageChecks += 1;
    const sizes = recovery.journal?.volumesOf(checkpointId).map(({ sizeBytes }) => sizeBytes) ?? [];
    marker.images.forEach((image, volume) => this.#compare('image', `${recovery.key} at checkpoint ${checkpointId}`, volume, recovery.imageBefore(volume, held.markerSeq).subarray(0, sizes[volume] ?? 0), image));
  }

  #compare(kind: 'image' | 'head', what: string, volume: number, found: Uint8Array, expected: Uint8Array): void {
    if (Buffer.compare(found, expected) === 0) return;
    const at = found.findIndex((byte, index) => byte !== expected[index]);
    throw new Violation(kind, `${what}: volume ${volume} differs at byte ${at}: ${found[at] ?? 'nothing'} instead of ${expected[at] ?? 'nothing'}`);
  }

  #checkHeld(recovery: SimRecovery, checkpointId: number): void {
    if (recovery.journal === undefined || recovery.journal.holds(checkpointId)) return;
    throw new Violation('gone', `checkpoint ${checkpointId} was listed and is gone from the journal of ${recovery.key}`);
  }

  #checkBurned(burned: string): void {
    const [key, epoch] = burned.split('@');
    for (const host of this.site.recovering) {
      const stats = host.recoveries.find((one) => one.key === key)?.journal?.stats();
      if (stats?.reservedEpoch === Number(epoch) || stats?.epoch === Number(epoch)) throw new Violation('ownership', `${key}: epoch ${epoch} was burned and is in use`);
    }
  }

  /** In every journal, of the VM set that the marker names. */
  #newlyListed({ plan, isListed, floorId }: History): CheckpointMarker[] {
    const recoveries = this.#recoveries(plan.vpgId);
    if (recoveries.length < plan.vms.length || recoveries.some(({ journal }) => journal === undefined)) return [];
    const [first, ...others] = recoveries;
    const markers = (first?.held() ?? []).map((held) => held.marker);
    return markers.filter(({ checkpointId, vmIds }) => {
      if (isListed.has(checkpointId) || checkpointId < floorId) return false;
      return others.every(({ journal, vm }) => !vmIds.includes(vm.vmId) || journal?.holds(checkpointId) === true);
    });
  }

  /** Of two dependent writes none, both, or only the first. */
  #checkCut({ vpgId, vms }: VpgPlan, { checkpointId }: CheckpointMarker): void {
    const markers = vms.map((vm) => ({ vm, marker: vm.markers.get(markerKey(vpgId, checkpointId)) }));
    for (const { vm, marker } of markers) {
      for (const other of markers) {
        const needed = marker?.after[other.vm.number - 1] ?? 0;
        const found = other.marker?.atIndex ?? 0;
        if (needed > found) throw new Violation('cut', `${vpgId}: checkpoint ${checkpointId} holds ${found} writes of ${other.vm.vmId}, and a write of ${vm.vmId} that depends on number ${needed}`);
      }
    }
  }

  /** What the journal's bytes were is known to nobody. */
  #isUnknown({ key }: SimRecovery): boolean {
    return this.site.recovering.some((host) => host.unknown.has(key));
  }

  #isRotted({ key }: SimRecovery): boolean {
    return this.site.recovering.some((host) => host.rotted.has(key));
  }

  #recoveries(vpgId: string): SimRecovery[] {
    return this.site.recovering.flatMap((host) => (host.isAlive ? host.recoveries.filter(({ vm }) => vm.vpgId === vpgId) : []));
  }

  #of(vpgId: string): History {
    const history = this.#histories.get(vpgId);
    if (history === undefined) throw new RangeError(`no VPG ${vpgId}`);
    return history;
  }
}
