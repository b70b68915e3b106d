import { ProtocolError } from '@tidemark/base';
import type { Sender } from '@tidemark/replication';
import { Checkers, type Site } from './checkers.js';
import { Faults } from './faults.js';
import { Guests } from './guests.js';
import { GuestVm } from './guest-vm.js';
import { Network } from './network.js';
import { PlannedMove } from './planned-move.js';
import { runOneJournal } from './one-journal/run-one-journal.js';
import { runOwnership } from './ownership/run-ownership.js';
import type { Plant } from './plants.js';
import { ProtectingHost } from './protecting-host.js';
import { RecoveringHost, type RecoveryWatcher } from './recovering-host.js';
import { RecoverySite } from './recovery-site.js';
import { Reversal } from './reversal.js';
import type { Surroundings } from './sim-host.js';
import type { SimStream } from './sim-stream.js';
import { ProtectedSite } from './protected-site.js';
import { swarm, withActivityLogs, withFaults, type SwarmOptions } from './swarm.js';
import { HostChange } from './host-change.js';
import { SimOwners } from './sim-takeover.js';
import { GUARD_BYTES, SimSpace } from './sim-space.js';
import { SpaceOperator } from './space-operator.js';
import { Random } from './random.js';
import { Versions, withVersions } from './versions.js';
import { isCurrent, VolumeChanges, withVolumeChanges } from './volume-changes.js';
import { VpgEdits, withVpgEdits } from './vpg-edits.js';
import { watchRejections } from './rejections.js';
import { EPOCH, type VpgPlan } from './topology.js';
import { Violation, World, type ViolationKind } from './world.js';

const CHECK_MS = 100;
const HEADS_EVERY = 5;
/** After the faults: reconnecting after 3 s of silence, initial sync on slow disks, a new leader after 4 intervals, a promotion. */
const SETTLE_MS = 15_000;
/** Between two steps of a stream that goes on. */
const GOING_ON_MS = 2000;
/** A sync block read at once: goes alone when it is longer than frame and credit. */
const LONGEST_RECORD_BYTES = 256 * 1024;

export interface RunResult {
  readonly seed: number;
  readonly options: SwarmOptions;
  /** undefined: everything held. */
  readonly violation: Error | undefined;
  readonly kind: ViolationKind | undefined;
  readonly listedCount: number;
  readonly imageChecks: number;
  readonly writeCount: number;
  readonly testCount: number;
  readonly moveCount: number;
  readonly reversalCount: number;
  readonly commitCount: number;
  readonly rollbackCount: number;
  readonly compactedBytes: number;
  readonly eventCount: number;
  /** Retirements for want of space, and limits that had to be raised. */
  readonly earlyCount: number;
  readonly raisedCount: number;
  /** Journals that went to another host. */
  readonly hostChangeCount: number;
  readonly editCount: number;
  /** Above a journal's hard limit, at most. */
  readonly overBytes: number;
}

/** One whole run: a world, faults for a while, then peace, in which everything must become whole again. Before it the ownership protocol alone and one journal alone, by the same seed. One at a time. */
export async function run(seed: number, plant?: Plant): Promise<RunResult> {
  for (const [name, runSmall] of SMALL_WORLDS) {
    if (plant !== undefined && plant.world !== name) continue;
    const { violation } = await runSmall(seed, plant);
    if (violation !== undefined || plant !== undefined) return { ...NOTHING, seed, options: swarm(new Random(seed), seed), violation, kind: kindOf(violation) };
  }
  return await new Run(seed, plant).result();
}

/** Each is of one danger alone, and soon over. */
const SMALL_WORLDS = [['ownership', runOwnership], ['oneJournal', runOneJournal]] as const;

const NOTHING = { listedCount: 0, imageChecks: 0, writeCount: 0, testCount: 0, moveCount: 0, reversalCount: 0, commitCount: 0, rollbackCount: 0, compactedBytes: 0, eventCount: 0, earlyCount: 0, raisedCount: 0, hostChangeCount: 0, editCount: 0, overBytes: 0 };

/** Refused for good: an open stream that another owner's epoch ended. */
const isFenced = (sender: Sender): boolean => sender.status().state === 'refused' && !sender.wantsOpen;

function kindOf(violation: Error | undefined): ViolationKind | undefined {
  if (violation instanceof Violation) return violation.kind;
  if (violation instanceof ProtocolError) return 'protocol';
  return violation && 'error';
}

type Stream = Pick<SimStream, 'sender' | 'key' | 'plan'>;

class Run {
  readonly #world: World;
  readonly #options: SwarmOptions;
  readonly #network: Network;
  readonly #checkers: Checkers;
  readonly #site: Site;
  readonly #guests: Guests;
  readonly #manager: ProtectedSite;
  readonly #recoverySite: RecoverySite;
  readonly #reversal: Reversal;
  readonly #space: SpaceOperator;
  readonly #hostChange: HostChange;
  readonly #faults: Faults;
  readonly #volumeChanges: VolumeChanges;
  readonly #edits: VpgEdits;
  #isDone = false;

  constructor(seed: number, plant: Plant | undefined) {
    this.#world = new World(seed);
    const chosen = swarm(this.#world.random, seed, plant && { isThinned: plant.isThinned === true, isLimited: plant.isLimited === true, isChangingHosts: plant.isChangingHosts === true });
    const options = withActivityLogs(chosen, seed, plant === undefined ? undefined : plant.isLogged === true);
    // Mirrors that grow would fill a datastore beyond its guard, and sizes would have to go with a journal.
    const isFixed = options.isChangingHosts === true || options.space !== undefined;
    const changing = withVolumeChanges(options, seed, isFixed ? false : plant && plant.isChanging === true);
    const edited = withVpgEdits(changing, seed, plant && plant.isEdited === true);
    const versioned = withVersions(edited, seed, plant !== undefined);
    this.#options = plant?.under === undefined ? versioned : withFaults({ ...versioned, ...plant.shape }, [plant.under]);
    this.#network = new Network(this.#world);
    this.#network.areHellosSent = this.#options.faults.has('otherVersion');
    this.#network.delayMsMax = this.#options.delayMsMax;
    this.#network.spikeMsMax = this.#options.spikeMsMax;
    const around: Surroundings = { world: this.#world, network: this.#network, plant };
    const vms = this.#options.vmVolumeBytes.map((volumeBytes, index) => new GuestVm(`vm${index + 1}`, index + 1, volumeBytes));
    const plans = this.#plans(vms);
    const protecting = this.#protecting(around);
    vms.forEach((vm, index) => (vm.runsOn = protecting[index % protecting.length]?.name ?? ''));
    const { budgetBytes, creditBytesMax, frameBytesMax } = this.#options;
    const recovering: RecoveringHost[] = [];
    this.#site = {
      vms: new Map(vms.map((vm) => [vm.vmId, vm])), plans, protecting, recovering, budgetBytes,
      pendingBytesMax: creditBytesMax + Math.max(frameBytesMax, LONGEST_RECORD_BYTES),
    };
    this.#checkers = new Checkers(this.#world, this.#site);
    recovering.push(...this.#recovering(around, plans, this.#checkers));
    const hosts = new Map(protecting.map((host) => [host.name, host]));
    this.#guests = new Guests(this.#world, this.#options, vms, hosts);
    this.#manager = new ProtectedSite(this.#world, { plans: [...plans], vms: [...vms], isLockless: this.#options.isLockless }, hosts);
    this.#reversal = new Reversal(around, this.#site, this.#checkers, this.#manager, this.#options);
    this.#hostChange = new HostChange(this.#world, recovering, this.#manager, this.#checkers);
    const planned = new PlannedMove(this.#world, this.#site, this.#manager, this.#checkers, plant);
    this.#recoverySite = new RecoverySite(this.#world, plans, recovering, this.#checkers, this.#options, { planned, reversal: this.#reversal, hostChange: this.#hostChange });
    this.#manager.documentMsMax = this.#options.documentMsMax;
    this.#space = new SpaceOperator(this.#world, this.#site, this.#checkers);
    this.#volumeChanges = new VolumeChanges(this.#world, this.#site, this.#manager, this.#checkers, this.#options.volumeChangeMs);
    this.#edits = new VpgEdits(this.#world, this.#site, this.#manager, this.#recoverySite, this.#checkers, this.#options, plant?.flag === 'editHalfUndone');
    const targets = { network: this.#network, site: this.#site, manager: this.#manager, recoverySite: this.#recoverySite, reversal: this.#reversal, space: this.#space };
    this.#faults = new Faults(this.#world, targets, this.#options);
  }

  async result(): Promise<RunResult> {
    let violation: Error | undefined;
    const runEnded = watchRejections((error) => this.#world.fail(error));
    try {
      await this.#act();
    } catch (error) {
      violation = error instanceof Error ? error : new Error(String(error));
    } finally {
      runEnded();
    }
    const { testCount, commitCount, rollbackCount, compactedBytes } = this.#recoverySite;
    return {
      seed: this.#world.seed, options: this.#options, violation, kind: kindOf(violation), listedCount: this.#checkers.listedCount, imageChecks: this.#checkers.imageChecks,
      writeCount: this.#guests.writes.size + this.#reversal.writeCount, testCount, moveCount: this.#recoverySite.moveCount, reversalCount: this.#reversal.count, commitCount, rollbackCount, compactedBytes, eventCount: this.#world.eventCount,
      earlyCount: this.#checkers.space.earlyCount, raisedCount: this.#space.raisedCount, hostChangeCount: this.#hostChange.count, editCount: this.#edits.count, overBytes: this.#checkers.space.overMaxBytes,
    };
  }

  async #act(): Promise<void> {
    for (const host of [...this.#site.recovering, ...this.#site.protecting]) host.start();
    this.#manager.begin();
    this.#watch(1);
    this.#guests.start();
    this.#faults.start();
    this.#volumeChanges.start();
    this.#edits.start();
    if (this.#options.isThinned) this.#recoverySite.thinNowAndThen();
    await this.#world.runUntil(this.#options.faultPhaseMs);
    this.#faults.stop();
    this.#volumeChanges.stop();
    this.#edits.stop();
    await this.#world.runUntil(this.#options.faultPhaseMs + 500);
    this.#guests.isStopped = true;
    this.#reversal.stopGuests();
    await this.#settle();
  }

  #watch(count: number): void {
    this.#world.after(CHECK_MS, () => {
      if (this.#isDone) return;
      this.#checkers.check();
      if (count % HEADS_EVERY === 0) this.#checkers.checkHeads();
      this.#watch(count + 1);
    });
  }

  /** After the faults stop, lag reaches zero, and in every VPG a checkpoint is listed that equals the protected disks. */
  async #settle(): Promise<void> {
    const before = new Map(this.#livePlans().map(({ vpgId }) => [vpgId, this.#checkers.listedEver(vpgId)]));
    let endMs = this.#world.nowMs + SETTLE_MS;
    const lastMs = this.#world.nowMs + 4 * SETTLE_MS;
    // A sync of large volumes over slow disks and links may take longer: as long as each stream that is behind goes on.
    const progress = new Map<string, { readonly ackedSeq: number; readonly dirtyBytes: number; readonly atMs: number }>();
    const isMoving = ({ sender, key }: Stream): boolean => {
      const { ackedSeq, dirtyBytes } = sender.status();
      const before = progress.get(key);
      const hasMoved = before === undefined || ackedSeq > before.ackedSeq || dirtyBytes < before.dirtyBytes;
      progress.set(key, { ackedSeq, dirtyBytes, atMs: hasMoved ? this.#world.nowMs : before.atMs });
      return hasMoved || this.#world.nowMs < before.atMs + GOING_ON_MS;
    };
    const isGoingOn = (): boolean => this.#world.nowMs < lastMs && this.#streams().filter((stream) => !this.#isQuietStream(stream)).map(isMoving).every(Boolean);
    let whenQuiet: ReadonlyMap<string, number> | undefined;
    while (this.#world.nowMs < Math.max(endMs, this.#edits.lookUntilMs) || (whenQuiet === undefined && isGoingOn())) {
      await this.#world.runUntil(this.#world.nowMs + 100);
      if ((this.#recoverySite.isIdle || this.#faults.isStorageFailed) && whenQuiet === undefined && this.#isQuiet()) {
        whenQuiet = new Map(this.#livePlans().map(({ vpgId }) => [vpgId, this.#checkers.listedEver(vpgId)]));
        this.#edits.quiet();
        endMs = Math.max(endMs, this.#world.nowMs + SETTLE_MS / 2);
      }
      // Where every VPG has failed over there is nothing to wait for but the last writes, which are on the disk in part and not captured yet.
      // A journal that is being opened anew meanwhile is waited for.
      if (whenQuiet !== undefined && this.#isQuiet() && this.#site.protecting.every((host) => host.isIdle) && this.#livePlans().every(({ vpgId }) => this.#checkers.listedEver(vpgId) >= (whenQuiet?.get(vpgId) ?? before.get(vpgId) ?? 0) + 2) && this.#edits.unmet(this.#livePlans()) === undefined) break;
    }
    this.#isDone = true;
    this.#checkers.check();
    this.#checkers.checkHeads();
    this.#checkAlive(before, whenQuiet !== undefined);
    this.#edits.check(this.#livePlans());
    this.#compareDisks();
  }

  #checkAlive(before: ReadonlyMap<string, number>, isQuiet: boolean): void {
    if (!this.#recoverySite.isIdle && !this.#faults.isStorageFailed) throw new Violation('stuck', `a test or failover of ${this.#recoverySite.busy} has not ended ${SETTLE_MS} ms after the last fault`);
    if (!isQuiet) throw new Violation('stuck', `lag is not zero ${SETTLE_MS} ms after the last fault: ${this.#lag()}`);
    Versions.check([...this.#site.protecting, ...this.#site.recovering]);
    for (const { vpgId } of this.#livePlans()) {
      if (this.#checkers.listedEver(vpgId) > (before.get(vpgId) ?? 0)) continue;
      throw new Violation('stuck', `no checkpoint of ${vpgId} was listed in ${SETTLE_MS} ms without faults: ${this.#barriers()}`);
    }
    for (const { sender, key, plan } of this.#streams()) {
      if (this.#checkers.isEnding(plan.vpgId) && this.#recoverySite.isIdle && !isFenced(sender)) throw new Violation('ownership', `${key} ended with a failover, and its old side is ${sender.status().state}, not fenced`);
    }
  }

  #compareDisks(): void {
    for (const vm of this.#site.vms.values()) {
      vm.captured.forEach((image, volume) => {
        if (Buffer.compare(image, vm.disks[volume]?.copy() ?? new Uint8Array()) !== 0) throw new Error(`the simulation lost track of ${vm.vmId}`);
      });
    }
    for (const { vpgId } of this.#livePlans()) this.#checkers.checkEverywhere(vpgId, this.#checkers.listedOf(vpgId).at(-1) ?? 0);
  }

  /** VPGs that replicate: not failed over, and no journal of theirs on storage that failed. */
  #livePlans(): VpgPlan[] {
    return this.#site.plans.filter(({ vpgId }) => !this.#checkers.isEnding(vpgId) && !this.#isBroken(vpgId));
  }

  #isBroken(vpgId: string): boolean {
    return this.#faults.isStorageFailed
      && this.#site.recovering.some((host) => host.recoveries.some(({ vm, journal }) => vm.vpgId === vpgId && journal?.stats().state.phase === 'broken'));
  }

  #streams(): Stream[] {
    return this.#site.protecting.flatMap((host) => host.streams.map(({ sender, key, plan }) => ({ sender, key, plan })));
  }

  #isQuiet(): boolean {
    return this.#streams().every((stream) => this.#isQuietStream(stream));
  }

  #isQuietStream({ sender, plan }: Stream): boolean {
    const { lagBytes, state, sync } = sender.status();
    // A stream may also be refused because a journal is not open yet. Where storage failed its commit may never be answered.
    if (this.#checkers.isEnding(plan.vpgId)) return isFenced(sender) || (this.#faults.isStorageFailed && !this.#recoverySite.isIdle);
    return !this.#livePlans().some(({ vpgId }) => vpgId === plan.vpgId) || (lagBytes === 0 && state === 'replicating' && sync === null && isCurrent(plan.volumeBytes, plan.vm));
  }

  #lag(): string {
    return this.#streams().map(({ key, sender }) => {
      const { state, detail, lagBytes } = sender.status();
      return `${key} ${state} ${lagBytes} ${detail}`;
    }).join('; ');
  }

  #barriers(): string {
    return this.#site.protecting.flatMap((host) => host.barriers.map((barrier) => `${host.name} ${JSON.stringify(barrier.status())}`)).join('; ');
  }

  #plans(vms: readonly GuestVm[]): VpgPlan[] {
    const { vpgs, intervalMs, historyMs, recoveringCount } = this.#options;
    return vpgs.map((members, index) => ({
      vpgId: `vpg${index + 1}`, intervalMs, historyMs, epoch: EPOCH, isReversed: false, volumesOf: new Map(),
      vms: members.flatMap((member) => vms[member] ?? []),
      recoveringHostOf: new Map(members.map((member) => [`vm${member + 1}`, `r${((member + index) % recoveringCount) + 1}`])),
    }));
  }

  #protecting(around: Surroundings): ProtectingHost[] {
    const { protectingCount } = this.#options;
    const peerNames = Array.from({ length: protectingCount }, (_, index) => `p${index + 1}`);
    return peerNames.map((name) => new ProtectingHost(name, around, { ...this.#options, peerNames }));
  }

  #recovering(around: Surroundings, plans: readonly VpgPlan[], watcher: RecoveryWatcher): RecoveringHost[] {
    const { recoveringCount, segmentBytes, creditBytesMax, diskMsMax, isGuarded } = this.#options;
    const peerNames = Array.from({ length: recoveringCount }, (_, index) => `r${index + 1}`);
    const ofHost = (plan: VpgPlan, name: string) => plan.vms.filter(({ vmId }) => plan.recoveringHostOf.get(vmId) === name);
    const owners = this.#options.isChangingHosts === true ? new SimOwners() : undefined;
    return peerNames.map((name) => {
      const vms = plans.flatMap((plan) => ofHost(plan, name).map(({ vmId, volumeBytes }) => ({ vpgId: plan.vpgId, vmId, volumeBytes, space: this.#spaceOf(volumeBytes) })));
      const retirements = plans.filter((plan) => ofHost(plan, name).length > 0).map((plan) => {
        const recoverers = peerNames.map((vraId) => ({ vraId, vmIds: ofHost(plan, vraId).map(({ vmId }) => vmId) })).filter(({ vmIds }) => vmIds.length > 0);
        const config = { vpgId: plan.vpgId, epoch: EPOCH, historyMs: plan.historyMs, recoverers };
        return { config, vmIds: ofHost(plan, name).map(({ vmId }) => vmId) };
      });
      const host = new RecoveringHost(name, around, { peerNames, vms, retirements, epoch: EPOCH, segmentBytes, creditBytesMax, isGuarded, owners }, watcher);
      host.disk.latencyMsMax = diskMsMax;
      this.#endDatastore(host);
      return host;
    });
  }

  #spaceOf(volumeBytes: readonly number[]): SimSpace | undefined {
    const { space, creditBytesMax } = this.#options;
    return space && new SimSpace(space, volumeBytes, creditBytesMax);
  }

  #endDatastore({ disk, options: { vms } }: RecoveringHost): void {
    const share = this.#options.space?.datastoreShare ?? Infinity;
    if (share === Infinity) return;
    const mirrorBytes = vms.flatMap(({ volumeBytes }) => volumeBytes).reduce((sum, bytes) => sum + bytes, 0);
    const hardBytes = vms.reduce((sum, { space }) => sum + (space?.hardBytes ?? 0), 0);
    disk.datastoreBytes = mirrorBytes + Math.floor(share * hardBytes) + GUARD_BYTES;
    disk.capacityBytes = disk.datastoreBytes;
  }
}
