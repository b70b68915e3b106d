import { stat } from 'node:fs/promises';
import type { BarrierMessage, BarrierStatus } from '@tidemark/checkpoint';
import type { CheckpointMarker, CheckpointSeal } from '@tidemark/frame';
import type { ExportTable } from '@tidemark/nbd-server';
import type { CodecPool } from '@tidemark/link';
import { throttleAt } from '@tidemark/base';
import { AttachedVms } from './attached-vms.js';
import { ActivityLogs } from './activity-logs.js';
import { BarrierHost, type BarrierSurroundings } from './barrier-host.js';
import { EngineError } from './engine-error.js';
import { checkSending } from './epoch-gate.js';
import type { EngineMemory } from './engine-memory.js';
import type { UnreachableDisk } from './disk-outages.js';
import type { HandOver } from './disk-hand-over.js';
import { restingFingerprint } from './disk-fingerprint.js';
import type { HashPool } from './hash-pool.js';
import type { Quiescence } from './quiescence.js';
import { Outbound } from './outbound.js';
import { SendingPeer } from './sending-peer.js';
import { SendingStream } from './sending-stream.js';
import { protectionKey, type AttachedVmSpec, type BarrierSpec, type DesiredState, type ProtectionRef, type ProtectionSpec, type VraOptions } from './types.js';
import type { VoteStore } from './vote-store.js';

export interface SendingSurroundings {
  readonly options: VraOptions;
  readonly codecs: CodecPool;
  readonly exports: ExportTable;
  readonly votes: VoteStore;
  readonly hashPool: HashPool;
  readonly memory: EngineMemory;
  readonly quiescence: Quiescence;
  sendBarrier(vraId: string, message: BarrierMessage): void;
  isPeerUp(vraId: string): boolean;
  /**
   * What stands in the way of attaching: a recovery that still owns the disk's file or its export. Otherwise the exports that a
   * promoted view hands over.
   */
  takeOver(spec: AttachedVmSpec): HandOver | 'notYet';
}

interface Stream {
  readonly stream: SendingStream;
  readonly peer: SendingPeer;
}

/** Of the memory for captured writes: what may wait in it for company before it is sent. */
const GATHERED_SHARE = 1 / 8;

/** Everything of a VRA that concerns VMs running on its own host: their disks, streams and barriers, made to match the desired state. */
export class SendingSide {
  readonly #vms: AttachedVms;
  readonly #streams = new Map<string, Stream>();
  readonly #peers = new Map<string, SendingPeer>();
  readonly #barriers = new Map<string, BarrierHost>();
  /** By VPG, the highest number of a checkpoint that a journal was heard to hold. */
  readonly #numbersSeen = new Map<string, number>();
  readonly #faults = new Map<string, string>();
  readonly outbound: Outbound;
  readonly #logs: ActivityLogs;
  #socketInode: number | undefined;
  #desired: DesiredState = { revision: -1, attachedVms: [], protections: [], barriers: [] };
  #carriedOutRevision = -1;
  #last: Promise<void> = Promise.resolve();

  constructor(private readonly around: SendingSurroundings) {
    this.outbound = new Outbound(around.memory.capturing.limitBytes * GATHERED_SHARE);
    this.#logs = new ActivityLogs(`${around.options.stateFolder}/activity`, around.options.log);
    this.#vms = new AttachedVms({
      options: around.options,
      exports: around.exports,
      logs: this.#logs,
      takeOver: (spec) => around.takeOver(spec),
      onSuspect: (vmId, slot) => this.#suspect(vmId, slot),
      onLeaving: (vmId) => this.#closeStreamsOf(vmId),
      onRetry: () => void this.apply(this.#desired).catch((error: unknown) => around.options.log.error({ error: String(error) }, 'attaching failed; it is tried again')),
    });
  }

  get desired(): DesiredState {
    return this.#desired;
  }

  /** Everything of it is done, tried at least: a VM that it no longer names is let go, its exports and files closed. The manager gives its disks to another VRA by this. */
  get carriedOutRevision(): number {
    return this.#carriedOutRevision;
  }

  get attachedVmIds(): readonly string[] {
    return [...this.#vms.guests.keys()];
  }

  unreachableDisks(): readonly UnreachableDisk[] {
    return this.#vms.unreachableDisks();
  }

  get streams(): readonly SendingStream[] {
    return [...this.#streams.values()].map(({ stream }) => stream);
  }

  /** Why a VM could not be attached, or a protection not be started; it is tried again. */
  faultOf(key: string): string | undefined {
    return this.#faults.get(key) ?? this.#vms.faultOf(key);
  }

  barrierStatuses(): readonly { readonly spec: BarrierSpec; readonly status: BarrierStatus }[] {
    return [...this.#barriers.values()].map((barrier) => ({ spec: barrier.spec, status: barrier.status() }));
  }

  /** One after the other: what is asked for while a change is under way comes after it. */
  apply(desired: DesiredState): Promise<void> {
    this.#desired = desired;
    this.#throttle();
    this.#vms.want(desired.attachedVms);
    const applied = this.#last.then(() => this.#reconcile(this.#desired));
    this.#last = applied.catch(() => undefined);
    return applied;
  }

  async #reconcile(desired: DesiredState): Promise<void> {
    this.#dropBarriers(desired.barriers);
    this.#dropStreams(desired.protections);
    this.#dropMoved(desired);
    await this.#logs.keepOnly(desired.protections, this.#vms.guests);
    await this.#vms.reconcile(desired);
    for (const spec of desired.protections) {
      const key = protectionKey(spec);
      const guest = this.#vms.guests.get(spec.vmId);
      if (guest && !this.#streams.has(key)) await this.#logs.openForRunning(spec, guest);
      this.#ensureStream(spec);
      if (!guest || this.#logs.get(key)) continue;
      // Its volumes changed while it runs: the old log is gone, the new one has nothing to say yet. None for volumes that the stream does not have: it could not vouch for them.
      if (!guest.unopened(spec.diskIds)) await this.#logs.openForRunning(spec, guest);
      this.#streams.get(key)?.stream.useActivity(this.#logs.get(key));
    }
    await this.#dropPeers();
    for (const spec of desired.barriers) this.#ensureBarrier(spec);
    this.#carriedOutRevision = desired.revision;
  }

  #suspect(vmId: string, slot: number): void {
    for (const { stream } of this.#streams.values()) if (stream.spec.vmId === vmId) stream.suspect(slot);
  }

  #dropStreams(specs: readonly ProtectionSpec[]): void {
    const wanted = new Map(specs.map((spec) => [protectionKey(spec), spec]));
    for (const [key, { stream }] of this.#streams) {
      const spec = wanted.get(key);
      if (!spec || !isSameStream(spec, stream.spec)) this.#closeStream(key);
      else if (!isSamePeer(spec, stream.spec)) this.#retarget(key, spec);
      else if (isSameVolumes(spec, stream.spec)) stream.update(spec);
    }
    for (const key of this.#faults.keys()) if (!wanted.has(key)) this.#faults.delete(key);
  }

  /**
   * A disk whose file will be another one, with bytes of its own: its stream ends before anybody writes there, and the next one compares. (One that is removed changes nothing: nobody writes
   * it any more.)
   */
  #dropMoved({ attachedVms, protections }: DesiredState): void {
    for (const { vpgId, vmId, diskIds } of protections) {
      const key = protectionKey({ vpgId, vmId });
      const has = this.#streams.get(key)?.stream.spec.diskIds.filter((diskId) => diskIds.includes(diskId)) ?? [];
      const disks = attachedVms.find((vm) => vm.vmId === vmId)?.disks.filter(({ diskId }) => has.includes(diskId)) ?? [];
      const guest = this.#vms.guests.get(vmId);
      if (guest && !disks.every((disk) => guest.hasDisk(disk))) this.#closeStream(key);
    }
  }

  /** With its volumes as they are: if these change as well, that comes next. */
  #retarget(key: string, spec: ProtectionSpec): void {
    const entry = this.#streams.get(key);
    if (!entry) return;
    const { stream } = entry;
    const peer = this.#ensurePeer(spec);
    entry.peer.remove(stream);
    stream.retarget({ ...stream.spec, recoveringVra: spec.recoveringVra }, peer);
    this.#streams.set(key, { stream, peer });
    peer.add(stream);
    if (isSameVolumes(spec, stream.spec)) stream.update(spec);
  }

  #closeStreamsOf(vmId: string): void {
    for (const [key, { stream }] of this.#streams) if (stream.spec.vmId === vmId) this.#closeStream(key);
  }

  #closeStream(key: string): void {
    const entry = this.#streams.get(key);
    if (!entry) return;
    this.#streams.delete(key);
    entry.stream.close();
    entry.peer.remove(entry.stream);
  }

  #ensureStream(spec: ProtectionSpec): void {
    const key = protectionKey(spec);
    const running = this.#streams.get(key)?.stream;
    if (running && isSameVolumes(spec, running.spec)) return;
    const guest = this.#vms.guests.get(spec.vmId);
    const missing = guest ? spec.diskIds.filter((diskId) => diskId !== '' && guest.slotOf(diskId) < 0) : [];
    if (!guest || missing.length > 0) {
      this.#faults.set(key, guest ? `the VM has no disk ${missing.join(', ')}` : (this.#vms.faultOf(spec.vmId) ?? 'the VM does not run on this host'));
      return;
    }
    const unopened = guest.unopened(spec.diskIds);
    if (unopened) {
      // One that runs goes on with the volumes it has. Without one, what its guest writes meanwhile stands in the activity log, which the stream begins with.
      this.#faults.set(key, `disk ${unopened.diskId} at ${unopened.path} has not been reached yet`);
      return;
    }
    this.#faults.delete(key);
    if (running?.changeVolumes(spec) === true) return;
    this.#closeStream(key);
    const peer = this.#ensurePeer(spec);
    const stream = new SendingStream(spec, {
      guest, peer, vraId: this.around.options.vraId, outbound: this.outbound, codecs: this.around.codecs, hashPool: this.around.hashPool, budget: this.around.memory.capturing,
      log: this.around.options.log, activity: this.#logs.get(key), activityPeriodMs: this.around.options.activityPeriodMs,
      onBroken: (error) => this.#streamBroke(key, stream, error),
      onNumberSeen: (checkpointId) => this.#numberSeen(spec.vpgId, checkpointId),
    });
    this.#streams.set(key, { stream, peer });
    peer.add(stream);
  }

  /** The fault makes the next tick begin a new stream, with a sync of everything. */
  #streamBroke(key: string, stream: SendingStream, error: unknown): void {
    if (this.#streams.get(key)?.stream !== stream) return;
    this.#closeStream(key);
    // What the sender believed to be durable is not believed any more.
    this.#logs.distrust(key);
    this.#faults.set(key, `the sender failed and begins anew: ${String(error)}`);
  }

  #ensurePeer({ recoveringVra, recoverySiteId }: ProtectionSpec): SendingPeer {
    const key = `${recoverySiteId}/${recoveringVra.vraId} ${recoveringVra.address}:${String(recoveringVra.dataPort)}`;
    let peer = this.#peers.get(key);
    if (!peer) {
      const { transport, address, log } = this.around.options;
      peer = new SendingPeer(recoveringVra, { transport, localAddress: address, outbound: this.outbound, log }, recoverySiteId);
      this.#peers.set(key, peer);
    }
    return peer;
  }

  async #dropPeers(): Promise<void> {
    for (const [key, peer] of this.#peers) {
      if (!peer.isEmpty) continue;
      this.#peers.delete(key);
      await peer.close();
    }
  }

  /** Why the recovering VRA of a stream is not reached; empty when it is. */
  unreachableReason(key: string): string {
    return this.#streams.get(key)?.peer.unreachableReason ?? '';
  }

  #dropBarriers(specs: readonly BarrierSpec[]): void {
    const wanted = new Set(specs.map(({ vpgId }) => vpgId));
    for (const [vpgId, barrier] of this.#barriers) {
      if (wanted.has(vpgId)) continue;
      barrier.close();
      this.#barriers.delete(vpgId);
    }
  }

  #ensureBarrier(spec: BarrierSpec): void {
    const barrier = this.#barriers.get(spec.vpgId);
    if (!barrier) {
      const begun = new BarrierHost(spec, this.#barrierSurroundings());
      this.#barriers.set(spec.vpgId, begun);
      begun.numberSeen(this.#numbersSeen.get(spec.vpgId) ?? 0);
    } else if (JSON.stringify(barrier.spec) !== JSON.stringify(spec)) barrier.configure(spec);
  }

  /** A stream may be open before the barrier is there. */
  #numberSeen(vpgId: string, checkpointId: number): void {
    this.#numbersSeen.set(vpgId, Math.max(checkpointId, this.#numbersSeen.get(vpgId) ?? 0));
    this.#barriers.get(vpgId)?.numberSeen(checkpointId);
  }

  #barrierSurroundings(): BarrierSurroundings {
    return {
      selfVraId: this.around.options.vraId,
      votes: this.around.votes,
      log: this.around.options.log,
      send: (vraId, message) => this.around.sendBarrier(vraId, message),
      isPeerUp: (vraId) => this.around.isPeerUp(vraId),
      hold: (vpgId, vmIds) => vmIds.forEach((vmId) => this.#vms.guests.get(vmId)?.hold(protectionKey({ vpgId, vmId }))),
      release: (vpgId, vmIds) => vmIds.forEach((vmId) => this.#vms.guests.get(vmId)?.release(protectionKey({ vpgId, vmId }))),
      placeMarkers: (marker, vmIds) => this.#placeMarkers(marker, vmIds),
      placeSeals: (seal, vmIds) => this.#placeSeals(seal, vmIds),
      confirmCapture: (vpgId, checkpointId, vmIds) => this.#confirmCapture(vpgId, checkpointId, vmIds),
    };
  }

  #placeMarkers(marker: CheckpointMarker, vmIds: readonly string[]): string | undefined {
    if (marker.kind === 'applicationConsistent') {
      const refusal = this.around.quiescence.markRefusal(marker.vpgId, marker.checkpointId, vmIds);
      if (refusal !== undefined) return refusal;
    }
    for (const vmId of vmIds) {
      const entry = this.#streams.get(protectionKey({ vpgId: marker.vpgId, vmId }));
      if (!entry) return `VM ${vmId} is not replicated from here`;
      // The receiver would end the connection of all streams for a marker of another epoch, again and again.
      if (entry.stream.spec.epoch !== marker.epoch) return `the stream of VM ${vmId} is of epoch ${String(entry.stream.spec.epoch)}`;
      if (!entry.stream.placeMarker(marker)) return `VM ${vmId} is ${entry.stream.status().state}`;
      entry.stream.work(0);
    }
    return undefined;
  }

  #placeSeals(seal: CheckpointSeal, vmIds: readonly string[]): boolean {
    const entries = vmIds.map((vmId) => this.#streams.get(protectionKey({ vpgId: seal.vpgId, vmId })));
    let isPlaced = true;
    for (const entry of entries) {
      isPlaced = (entry?.stream.placeSeal(seal) ?? false) && isPlaced;
      entry?.stream.work(0);
    }
    return isPlaced;
  }

  /** The host's answer: every VM is attached, its exports stand, and the socket that its guest connects to is still ours. */
  async #confirmCapture(vpgId: string, checkpointId: number, vmIds: readonly string[]): Promise<string | undefined> {
    const thawed = await this.around.quiescence.confirm(vpgId, checkpointId);
    if (thawed !== undefined) return thawed;
    const { ino } = await stat(this.around.options.nbdSocketPath);
    if (ino !== this.#socketInode) return 'the NBD socket of this host belongs to another process';
    const lost = vmIds.find((vmId) => !this.#vms.guests.get(vmId)?.isServed || !this.#streams.has(protectionKey({ vpgId, vmId })));
    return lost === undefined ? undefined : `VM ${lost} is not captured here any more`;
  }

  /** Remembers the socket that the NBD server has just made. */
  async listening(): Promise<void> {
    this.#socketInode = (await stat(this.around.options.nbdSocketPath)).ino;
  }

  ownVmIds(vpgId: string): readonly string[] {
    return this.#barriers.get(vpgId)?.ownVmIds ?? [];
  }

  barrierOf(vpgId: string): BarrierHost {
    const barrier = this.#barriers.get(vpgId);
    if (!barrier) throw new EngineError('VRA_UNKNOWN_PROTECTION', `this VRA makes no checkpoints of VPG ${vpgId}`);
    return barrier;
  }

  /** Whether that VRA protects VMs of the VPG too: nobody else has a say about its guests. */
  isBarrierMember(vpgId: string, vraId: string): boolean {
    return this.#barriers.get(vpgId)?.spec.members.some(({ vra }) => vra.vraId === vraId) ?? false;
  }

  forEachBarrier(act: (barrier: BarrierHost) => void): void {
    for (const barrier of this.#barriers.values()) act(barrier);
  }

  /** Everything is compared with the recovery side. VRA_UNKNOWN_PROTECTION when this VRA does not replicate that VM now. */
  forceSync({ epoch, ...ref }: ProtectionRef & { readonly epoch?: number | undefined }): void {
    const entry = this.#streams.get(protectionKey(ref));
    if (!entry) throw new EngineError('VRA_UNKNOWN_PROTECTION', `VM ${ref.vmId} of VPG ${ref.vpgId} is not replicated from here`);
    checkSending(`VM ${ref.vmId}`, { known: entry.stream.spec.epoch, epoch });
    entry.stream.forceSync();
  }

  /**
   * The fingerprints of a VM's disks, by volume index, when nothing was captured behind the marker of its last checkpoint, and everything before it is durable at the recovery
   * site. Empty for a volume that is no file, or whose writes are not all replicated. @throws EngineError VRA_NOT_SETTLED
   */
  async settle({ checkpointId, epoch, ...ref }: ProtectionRef & { readonly checkpointId: number; readonly epoch?: number | undefined }): Promise<readonly string[]> {
    const entry = this.#streams.get(protectionKey(ref));
    const guest = this.#vms.guests.get(ref.vmId);
    if (!entry || !guest) throw new EngineError('VRA_UNKNOWN_PROTECTION', `VM ${ref.vmId} of VPG ${ref.vpgId} is not replicated from here`);
    const { stream } = entry;
    checkSending(`VM ${ref.vmId}`, { known: stream.spec.epoch, epoch });
    stream.checkSettled(checkpointId);
    const fingerprints = await Promise.all(stream.spec.diskIds.map(async (diskId, volume) => {
      const slot = diskId === '' ? -1 : guest.slotOf(diskId);
      const disk = guest.disk(slot);
      if (!disk || stream.spec.tempVolumes?.includes(volume) === true) return '';
      await guest.file(slot).flush();
      return await restingFingerprint(disk.path);
    }));
    stream.checkSettled(checkpointId);
    return fingerprints;
  }

  /** The windows of the limit follow the wall clock of this host: they hold while no ZVM says anything. */
  #throttle(): void {
    const { throttle } = this.#desired;
    this.outbound.setLimit(throttle ? throttleAt(throttle, Date.now()) * throttle.share : Infinity);
  }

  /** Whatever could not be done before is tried again. */
  async tick(nowMs: number): Promise<void> {
    this.#throttle();
    for (const peer of this.#peers.values()) peer.tick(nowMs);
    if (this.#faults.size > 0 || this.#vms.hasFaults) await this.apply(this.#desired);
  }

  async close(): Promise<void> {
    this.#vms.stop();
    await this.#last;
    this.#vms.stop();
    for (const barrier of this.#barriers.values()) barrier.close();
    for (const key of [...this.#streams.keys()]) this.#closeStream(key);
    this.outbound.close();
    await Promise.all([...this.#peers.values()].map((peer) => peer.close()));
    await this.#vms.close();
    await this.#logs.close();
  }
}

const isSameVolumes = (a: ProtectionSpec, b: ProtectionSpec): boolean =>
  JSON.stringify([a.diskIds, a.volumeBytes]) === JSON.stringify([b.diskIds, b.volumeBytes]);

const isSamePeer = ({ recoveringVra: a, recoverySiteId }: ProtectionSpec, { recoveringVra: b, ...other }: ProtectionSpec): boolean =>
  a.vraId === b.vraId && a.address === b.address && a.dataPort === b.dataPort && recoverySiteId === other.recoverySiteId;

/** A stream knows from its start what it leaves out. */
const isSameStream = (a: ProtectionSpec, b: ProtectionSpec): boolean =>
  a.epoch === b.epoch && JSON.stringify(a.tempVolumes) === JSON.stringify(b.tempVolumes);
