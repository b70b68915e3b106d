import {
  CheckpointDisksRequestV1, CheckpointInsertV1, CheckpointListV1, DesiredStateV1, EpochV1, type JournalCheckpointV1, PinDropV1, PinPutV1, PreseedCheckV1, ProtectionForceSyncV1, ProtectionSettleV1, RecoveryReleaseV1, RecoveryRemoveV1, RecoveryV1, subjectOf, ViewCloseV1, ViewOpenV1, ViewPromoteV1,
  inboxNameOf, type Channel, type CheckpointListingV1, type ProtectionStatusV1, type RecoveryStatusV1, type ViewStatusV1, type VraStatusV1,
} from '@tidemark/contracts';
import { ControlBus, ControlRefusal, enrol, ownBrokerAccess, renewIdentity } from '@tidemark/nest';
import { type ComponentIdentity, type CurrentIdentity, identityMarks, type IdentityMarks, type TrustedSite } from '@tidemark/trust';
import { randomUUID } from 'node:crypto';
import type { FakeDataPlane } from './fake-data-plane.js';

const HEARTBEAT_MS = 200;
const PAGE_LENGTH = 3;
const NO_LIMITS = { journalHardBytes: null, journalWarningBytes: null, scratchHardBytes: null, scratchWarningBytes: null };

export interface FakeVraOptions {
  readonly siteId: string;
  readonly vraId: string;
  readonly hostId: string;
  readonly address: string;
  readonly natsUrl: string;
  /** Where it keeps its identity. */
  readonly folder: string;
}

export interface FakeRecovery {
  readonly spec: RecoveryV1;
  epoch: number;
  reservedEpoch: number | null;
  readonly held: (JournalCheckpointV1 & { readonly arrivedMs: number })[];
  lastChange: number;
}

/**
 * Answers a ZVM as a VRA does, over real NATS, with streams and journals that are only pretended: {@link FakeDataPlane} moves the
 * checkpoints. What a real VRA keeps on disk survives {@link silence} here.
 */
export class FakeVra {
  state: DesiredStateV1 = { revision: -1, trust: { sites: [] }, attachedVms: [], protections: [], barriers: [] };
  readonly forcedVmIds: string[] = [];
  /** VMs that write on behind any checkpoint. */
  readonly unsettledVmIds = new Set<string>();
  readonly recoveries = new Map<string, FakeRecovery>();
  readonly views = new Map<string, ViewOpenV1 & { status: ViewStatusV1['state'] }>();
  /** Every command, in order, for tests that look at what a ZVM asked for. */
  readonly commands: string[] = [];
  /** What it reports of its journals and datastores, for tests of alerts. */
  journalBytes = 4096;
  isAtHardLimit = false;
  loss: ProtectionStatusV1['loss'] = null;
  /** It sees no datastore: whatever it shall take over is not there. */
  refusesPut = false;
  onReleased: () => void = () => undefined;
  /** Serves what was opened to be read, and ends it, for tests of who reads it. */
  onViewOpened: (view: ViewOpenV1) => void = () => undefined;
  onViewClosed: (viewId: string) => void = () => undefined;
  /** Names by `vpgId/vmId`. */
  readonly pins = new Map<string, PinPutV1>();
  clockOffsetMs = 0;
  unreachableDisks: VraStatusV1['unreachableDisks'] = [];
  clockDoubt: VraStatusV1['clockDoubt'] = null;
  datastores: VraStatusV1['datastores'] = [];
  outbound: VraStatusV1['outbound'] = { bytesPerSecondMax: null, isThrottled: false, bytesPerSecond: 0 };
  readonly #instance = randomUUID();
  readonly #startedAtMs = Date.now();
  /** What its last attempt to enrol failed with. */
  enrolmentProblem = '';
  #identity: ComponentIdentity | undefined;
  #marks: { readonly current: CurrentIdentity; readonly sites: readonly TrustedSite[]; readonly marks: IdentityMarks } | undefined;
  #renewal: Promise<void> | undefined;
  #isWanted = false;
  #bus: ControlBus | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    readonly options: FakeVraOptions,
    private readonly plane: FakeDataPlane,
  ) {}

  /** With the token of its first start, as a hypervisor manager hands it over; later it knows who it is. */
  start(token?: string): void {
    this.#isWanted = true;
    void this.#begin(token);
  }

  async #begin(token: string | undefined): Promise<void> {
    const { siteId, vraId, hostId, folder } = this.options;
    while (!this.#identity && this.#isWanted && token !== undefined) {
      this.#identity = await enrol({ token, role: 'vra', siteId, instanceId: vraId, hostId, folder }).catch((error: unknown) => {
        this.enrolmentProblem = String(error);
        return undefined;
      });
      if (!this.#identity) await new Promise((resolve) => setTimeout(resolve, 200));
    }
    if (this.#identity && this.#isWanted && !this.#bus) this.#connect(this.#identity);
  }

  get identity(): ComponentIdentity | undefined {
    return this.#identity;
  }

  #connect(identity: ComponentIdentity): void {
    const bus = new ControlBus({ url: this.options.natsUrl, name: `fake vra ${this.options.vraId}`, access: ownBrokerAccess(identity, inboxNameOf({ kind: 'vra', vraId: this.options.vraId })) });
    this.#bus = bus;
    const answer = <T extends object>(channel: Channel, topic: string, type: new () => T, handle: (message: T) => object | void | Promise<void>): void => {
      bus.respond(this.#subject(channel, topic), type, async (message) => {
        this.commands.push(topic);
        this.#assertCurrent(message);
        return (await handle(message)) ?? {};
      });
    };
    answer('control', 'state.apply', DesiredStateV1, async (state) => {
      this.state = state;
      await identity.believe(() => state.trust.sites.find(({ siteId }) => siteId === this.options.siteId)?.caPem ?? []);
    });
    bus.respond(this.#subject('control', 'trust.renew'), null, () => {
      this.#renewal ??= renewIdentity(bus, identity).catch(() => undefined).finally(() => {
        this.#renewal = undefined;
      });
      return {};
    });
    answer('control', 'recovery.put', RecoveryV1, (spec) => this.#putRecovery(spec));
    answer('control', 'recovery.release', RecoveryReleaseV1, ({ vpgId, vmId }) => {
      const key = `${vpgId}/${vmId}`;
      const recovery = this.recoveries.get(key);
      if (recovery) this.plane.released.set(key, recovery);
      this.recoveries.delete(key);
      this.onReleased();
    });
    answer('control', 'recovery.remove', RecoveryRemoveV1, ({ vpgId, vmId }) => {
      this.recoveries.delete(`${vpgId}/${vmId}`);
    });
    answer('control', 'view.open', ViewOpenV1, (view) => this.#openView(view));
    answer('control', 'view.close', ViewCloseV1, ({ viewId }) => {
      this.views.delete(viewId);
      this.onViewClosed(viewId);
    });
    answer('control', 'pin.put', PinPutV1, (pin) => {
      if (!this.#recovery(pin).held.some(({ checkpointId }) => checkpointId === pin.checkpointId)) throw new ControlRefusal('VRA_UNKNOWN_CHECKPOINT', String(pin.checkpointId));
      this.pins.set(`${pin.vpgId}/${pin.vmId} ${pin.name}`, pin);
    });
    answer('control', 'pin.drop', PinDropV1, (pin) => {
      this.pins.delete(`${pin.vpgId}/${pin.vmId} ${pin.name}`);
    });
    answer('control', 'view.promote', ViewPromoteV1, ({ viewId }) => {
      const view = this.views.get(viewId);
      if (!view) throw new ControlRefusal('VRA_UNKNOWN_VIEW', viewId);
      view.status = 'promoted';
    });
    answer('control', 'epoch.reserve', EpochV1, (message) => this.#epoch(message, 'reserve'));
    answer('control', 'epoch.commit', EpochV1, (message) => this.#epoch(message, 'commit'));
    answer('control', 'epoch.burn', EpochV1, (message) => this.#epoch(message, 'burn'));
    answer('control', 'protection.forceSync', ProtectionForceSyncV1, ({ vmId }) => {
      this.forcedVmIds.push(vmId);
    });
    answer('control', 'preseed.check', PreseedCheckV1, ({ path }) => {
      if (path.includes('broken')) throw new ControlRefusal('VRA_PRESEED', `${path} has 1 bytes instead of 2`);
    });
    answer('control', 'protection.settle', ProtectionSettleV1, ({ vmId }) => {
      if (this.unsettledVmIds.has(vmId)) throw new ControlRefusal('VRA_NOT_SETTLED', `VM ${vmId} has written`);
      return { fingerprints: (this.state.protections.find((protection) => protection.vmId === vmId)?.diskIds ?? []).map((diskId) => `rest of ${vmId} ${diskId}`) };
    });
    answer('checkpoint', 'checkpoint.insert', CheckpointInsertV1, ({ vpgId, tag }) => ({ checkpointId: this.plane.insert(vpgId, tag) }));
    answer('checkpoint', 'checkpoint.disks', CheckpointDisksRequestV1, (message) => ({
      disks: this.#recovery(message).spec.volumes.map(({ diskId, sizeBytes }, volume) => ({ volume, diskId, sizeBytes })),
    }));
    answer('checkpoint', 'checkpoint.list', CheckpointListV1, (message) => this.#list(message));
    this.#timer = setInterval(() => bus.publish(this.#subject('event', 'status.published'), this.status()), HEARTBEAT_MS);
  }

  /** As if the process had died; {@link start} brings it back with all that it had. */
  async silence(): Promise<void> {
    this.#isWanted = false;
    clearInterval(this.#timer);
    const bus = this.#bus;
    this.#bus = undefined;
    await bus?.close();
    await this.#renewal;
  }

  #subject(channel: Channel, topic: string): string {
    return subjectOf({ siteId: this.options.siteId, service: 'vra', instanceId: this.options.vraId, channel, topic });
  }

  #recovery({ vpgId, vmId }: { readonly vpgId: string; readonly vmId: string }): FakeRecovery {
    const recovery = this.recoveries.get(`${vpgId}/${vmId}`);
    if (!recovery) throw new ControlRefusal('VRA_UNKNOWN_PROTECTION', `${vpgId} ${vmId}`);
    return recovery;
  }

  #putRecovery(spec: RecoveryV1): void {
    const key = `${spec.vpgId}/${spec.vmId}`;
    if (this.refusesPut) throw new ControlRefusal('VRA_NOTHING_THERE', `there is no journal in ${spec.journalFolder} to be taken over`);
    // Journal and mirrors lie on the datastore, whoever has them open.
    const released = this.plane.released.get(key) ?? (spec.isOldHostDown === true ? this.plane.seized(key) : undefined);
    if (!this.recoveries.has(key) && (spec.moveNumber ?? 0) > 0 && !released) throw new ControlRefusal('VRA_NOT_RELEASED', `${key} was not released by anybody`);
    this.plane.released.delete(key);
    const known = this.recoveries.get(key) ?? released;
    this.recoveries.set(key, { epoch: spec.epoch, reservedEpoch: null, held: [], lastChange: 0, ...known, spec });
  }

  /** As a VRA does: nothing is done for who believes in an epoch that is over. */
  #assertCurrent(message: object): void {
    const { vpgId, vmId, epoch } = message as { readonly vpgId?: string; readonly vmId?: string; readonly epoch?: number };
    const inForce = this.recoveries.get(`${vpgId ?? ''}/${vmId ?? ''}`)?.epoch ?? 0;
    if (epoch !== undefined && epoch < inForce) throw new ControlRefusal('VRA_EPOCH', `epoch ${inForce} is in force here, not ${epoch}`);
  }

  #openView(view: ViewOpenV1): void {
    const { held } = this.#recovery(view);
    if (!held.some(({ checkpointId }) => checkpointId === view.checkpointId)) throw new ControlRefusal('VRA_UNKNOWN_CHECKPOINT', String(view.checkpointId));
    if (this.views.has(view.viewId)) return;
    this.views.set(view.viewId, { ...view, status: 'open' });
    this.onViewOpened(view);
  }

  #epoch(message: EpochV1, verb: 'reserve' | 'commit' | 'burn'): void {
    const recovery = this.#recovery(message);
    if (verb === 'reserve') {
      if (message.epoch <= recovery.epoch) throw new ControlRefusal('VRA_EPOCH', `epoch ${message.epoch} is not above ${recovery.epoch}`);
      recovery.reservedEpoch = message.epoch;
    } else {
      if (verb === 'commit') recovery.epoch = message.epoch;
      recovery.reservedEpoch = null;
    }
  }

  /** In pages of a few, so that every list takes several. Additions only: change n is the n-th checkpoint. */
  #list({ vpgId, vmId, afterChange, afterCheckpointId = 0 }: CheckpointListV1): CheckpointListingV1 {
    const { held, lastChange } = this.#recovery({ vpgId, vmId });
    const isWhole = afterChange === undefined;
    const left = isWhole ? held.filter(({ checkpointId }) => checkpointId > afterCheckpointId) : held.slice(afterChange);
    const page = left.slice(0, PAGE_LENGTH).map(({ arrivedMs, ...checkpoint }) => ({ ...checkpoint, ageMs: performance.now() - arrivedMs }));
    return {
      instance: this.#instance, lastChange: isWhole ? lastChange : afterChange + page.length, isWhole, isMore: page.length < left.length, held: page, dropped: [],
    };
  }

  /** Read when something has changed: heartbeats are many. */
  #identityMarks(): IdentityMarks {
    const [current, sites] = [this.#identity?.current(), this.state.trust.sites];
    if (!current) return { notBeforeMs: 0, notAfterMs: 8.64e15, signedBy: '', trusts: [] };
    if (this.#marks?.current !== current || this.#marks.sites !== sites) this.#marks = { current, sites, marks: identityMarks(current, this.options.siteId, sites) };
    return this.#marks.marks;
  }

  status(): VraStatusV1 {
    const { vraId, hostId, address } = this.options;
    return {
      vraId, hostId, version: 'fake', address, startedAtMs: this.#startedAtMs, revision: this.state.revision, identity: this.#identityMarks(),
      attachedVmIds: this.state.attachedVms.map((vm) => vm.vmId),
      unreachableDisks: this.unreachableDisks,
      protections: this.state.protections.map((protection): ProtectionStatusV1 => ({
        vpgId: protection.vpgId, vmId: protection.vmId, epoch: protection.epoch, state: this.plane.streamState(protection.vpgId), isFenced: false, detail: '', loss: this.loss, sync: null,
        lagBytes: 0, writtenBytes: 0, writeCount: 0, sentBytes: 0, bytesPerSecond: 1024, writesPerSecond: 2,
      })),
      recoveries: [...this.recoveries.values()].map((recovery): RecoveryStatusV1 => ({
        vpgId: recovery.spec.vpgId, vmId: recovery.spec.vmId, epoch: recovery.epoch, reservedEpoch: recovery.reservedEpoch, state: this.isAtHardLimit ? 'full' : 'receiving', detail: '',
        durableSeq: recovery.held.length, journalBytes: this.journalBytes, compactedBytes: 0, limits: recovery.spec.limits ?? NO_LIMITS, isAtHardLimit: this.isAtHardLimit, scrub: { completedAtMs: null, detail: '', affectedIds: [] }, pins: [], mirrorBytes: 8192, receivedRawBytes: 1, receivedBytes: 1,
        newestCheckpointId: recovery.held.at(-1)?.checkpointId ?? null, oldestCheckpointId: recovery.held[0]?.checkpointId ?? null,
        instance: this.#instance, lastChange: recovery.lastChange,
      })),
      views: [...this.views.values()].map((view): ViewStatusV1 => ({
        viewId: view.viewId, vpgId: view.vpgId, vmId: view.vmId, checkpointId: view.checkpointId, state: view.status, detail: '', isScratchFull: false, scratchBytes: 0,
        promotedBytes: view.status === 'promoted' ? 100 : 0, totalBytes: 100,
      })),
      barriers: this.state.barriers.map((barrier) => ({
        vpgId: barrier.vpgId, version: barrier.version, leaderVraId: barrier.members[0]?.vra.vraId ?? null, term: 1, holdMsP50: 1, holdMsP99: 1, holdMsMax: 1, lastVoidReason: null, clockOffsetMs: this.clockOffsetMs, voidCount: 0, sealedCount: 0,
      })),
      datastores: this.datastores,
      outbound: this.outbound,
      clockDoubt: this.clockDoubt,
    };
  }
}
