import { mkdir } from 'node:fs/promises';
import { ExportTable, NbdServer } from '@tidemark/nbd-server';
import type { HeldCheckpoint, ListingQuestion } from '@tidemark/journal';
import { CodecPool } from '@tidemark/link';
import { nameUri, type TrustedSite } from '@tidemark/trust';
import { payloadPool } from '@tidemark/sys';
import type { CheckpointPin } from './checkpoint-pins.js';
import { AgeClock } from './age-clock.js';
import { ControlMesh } from './control-mesh.js';
import { DataServer } from './data-server.js';
import { DatastoreFolders } from './datastore-folders.js';
import { checkPreseed } from './mirror-set.js';
import { EventLoopWatch, type EventLoopDelay } from './event-loop-watch.js';
import { HashPool } from './hash-pool.js';
import { engineMemory, type EngineMemory } from './engine-memory.js';
import { checkSending, EpochGate, overError, withoutOverEpochs } from './epoch-gate.js';
import { EngineError } from './engine-error.js';
import { Quiescence } from './quiescence.js';
import { type RecoveryPointAge, RecoveryPointAges } from './recovery-point-ages.js';
import { RecoveringSide } from './recovering-side.js';
import type { RecoveryHost } from './recovery-host.js';
import { SendingSide } from './sending-side.js';
import { StateFile } from './state-file.js';
import { engineStatus, type EngineStatus } from './status.js';
import { type DesiredState, type ProtectionRef, type RecoverySpec, type ViewSpec, type VraAddress, type VraOptions } from './types.js';
import { VoteStore } from './vote-store.js';

const TICK_MS = 1000;

export interface JournalCheckpoint {
  readonly checkpointId: number;
  readonly epoch: number;
  readonly term: number;
  readonly vmIds: readonly string[];
  readonly atMs: number;
  readonly ageMs: number;
  readonly tag: string | null;
  readonly kind: HeldCheckpoint['marker']['kind'];
}

export interface CheckpointInsert {
  readonly vpgId: string;
  readonly tag: string;
  /** Every VM of the VPG is frozen by its agent while the checkpoint is made. */
  readonly isApplicationConsistent?: boolean | undefined;
}

/** Who asks believes this epoch to be in force; refused (VRA_EPOCH) when a newer one is known here. The control plane always says one. */
interface Asked {
  readonly epoch?: number | undefined;
}

export interface CheckpointListing {
  readonly instance: string;
  readonly lastChange: number;
  readonly isWhole: boolean;
  readonly isMore: boolean;
  readonly held: readonly JournalCheckpoint[];
  readonly dropped: readonly number[];
}

/**
 * The data plane of one VRA: guests' disks, capture, replication, checkpoints, journals, recovered disks. Runs without Nest,
 * NATS or a ZVM by what it was told last; the app around it passes control messages in and status out.
 */
export class VraEngine {
  readonly #ages: AgeClock;
  readonly #pointAges = new RecoveryPointAges();
  readonly #exports = new ExportTable();
  readonly #backupExports = new ExportTable();
  readonly #desiredFile: StateFile<DesiredState>;
  readonly #votes: VoteStore;
  readonly #codecs: CodecPool;
  readonly #mesh: ControlMesh;
  readonly #dataServer: DataServer;
  readonly #hashPool = new HashPool();
  readonly #quiescence: Quiescence;
  readonly #sending: SendingSide;
  readonly #recovering: RecoveringSide;
  /** Whoever says an epoch that is over here is refused (VRA_EPOCH): every command says one (ADR 0044). */
  readonly #gate: EpochGate;
  /** Of the newest document that was taken; what is asked for later is never older. */
  #desiredRevision = -1;
  #nbdServer: NbdServer | undefined;
  #backupServer: NbdServer | undefined;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #memory: EngineMemory;
  readonly #loopWatch = new EventLoopWatch();
  /** Periodic work under way; owned here: close waits for it. */
  readonly #ticking = new Map<string, Promise<void>>();
  #dataPort = 0;
  #controlPort = 0;

  private constructor(readonly options: VraOptions) {
    this.#ages = new AgeClock({ log: options.log, ...options.ageClock });
    this.#desiredFile = new StateFile(`${options.stateFolder}/desired.json`, 'guests of this host have no disks until the ZVM has told this VRA anew what to serve, which it does by itself as soon as they reach each other');
    this.#votes = new VoteStore(`${options.stateFolder}/votes.json`);
    this.#codecs = new CodecPool({ onWorkerLost: (error) => options.log.error({ error: error.message }, 'a codec worker died; frames go uncompressed until another one runs') });
    this.#mesh = new ControlMesh(options, this.#meshHandlers(), options.log);
    this.#dataServer = new DataServer(options.transport, (key) => this.#recovering.find(key), options.log);
    this.#memory = engineMemory(options.captureBytesMax);
    this.#quiescence = new Quiescence({
      selfVraId: options.vraId,
      log: options.log,
      agents: options.guestAgents,
      send: (vraId, message) => this.#mesh.send(vraId, message),
      isPeerUp: (vraId) => this.#mesh.isPeerUp(vraId),
      ownVmIds: (vpgId) => this.#sending.ownVmIds(vpgId),
    });
    this.#sending = new SendingSide({
      quiescence: this.#quiescence,
      options,
      codecs: this.#codecs,
      exports: this.#exports,
      votes: this.#votes,
      hashPool: this.#hashPool,
      memory: this.#memory,
      sendBarrier: (vraId, message) => this.#mesh.send(vraId, message),
      isPeerUp: (vraId) => this.#mesh.isPeerUp(vraId),
      takeOver: (spec) => this.#recovering.takeOver(spec),
    });
    this.#recovering = new RecoveringSide({
      options,
      ages: this.#ages,
      backupExports: this.#backupExports,
      codecs: this.#codecs,
      exports: this.#exports,
      hashPool: this.#hashPool,
      memory: this.#memory,
      sendRetirement: (vraId, message) => this.#mesh.send(vraId, message),
      isPeerUp: (vraId) => this.#mesh.isPeerUp(vraId),
    });
    this.#gate = new EpochGate(this.#recovering);
  }

  /**
   * Guests first: the disks of VMs that ran here are served again before journals are opened and peers are called. Throws when a
   * listener or the state folder cannot be had; single VMs or journals that fail are reported in the status and tried again.
   */
  static async start(options: VraOptions): Promise<VraEngine> {
    const { self } = options.transport;
    if (self.role !== 'vra' || self.instanceId !== options.vraId) throw new EngineError('VRA_IDENTITY', `the certificate is that of ${nameUri(self)}, not of VRA ${options.vraId}`);
    await mkdir(options.stateFolder, { recursive: true, mode: 0o700 });
    const engine = new VraEngine(options);
    try {
      await engine.#start();
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  async #start(): Promise<void> {
    await this.#votes.load();
    await this.#recovering.loadNames();
    const desired = await this.#desiredFile.load();
    this.#desiredRevision = desired?.revision ?? -1;
    this.options.transport.believe(desired?.trust?.sites ?? []);
    if (desired) await this.#sending.apply({ ...desired, barriers: [] });
    this.#nbdServer = await NbdServer.listen({ socketPath: this.options.nbdSocketPath }, this.#exports, {
      onProblem: (error) => this.options.log.warn({ error: String(error) }, 'NBD connection'),
    });
    await this.#sending.listening();
    await this.#recovering.start();
    this.#backupServer = await this.#listenForBackups();
    this.#dataPort = await this.#dataServer.listen(this.options.address, this.options.dataPort);
    this.#controlPort = await this.#mesh.listen(this.options.controlPort);
    if (desired) await this.#apply(desired);
    this.#setPeers();
    this.#startTicking('recovering', (nowMs) => this.#recovering.tick(nowMs));
    this.#startTicking('sending', (nowMs) => this.#sending.tick(nowMs));
    this.#timers.push(setInterval(() => payloadPool.trim(), TICK_MS));
    this.#timers.push(setInterval(() => this.#samplePoints(), TICK_MS));
  }

  /** Read-only, for the backup appliance and the manager of this site, each with its certificate. */
  async #listenForBackups(): Promise<NbdServer | undefined> {
    const { address, backupPort, transport, log } = this.options;
    const own = transport.self.siteId;
    const tls = transport.guard(({ siteId, role }) => siteId === own && (role === 'vba' || role === 'zvm'));
    if (backupPort === undefined || !tls) return undefined;
    return await NbdServer.listen({ host: address, port: backupPort }, this.#backupExports, { tls, onProblem: (error) => log.warn({ port: backupPort, error: String(error) }, 'backup connection') });
  }

  /** Of {@link VraOptions.backupPort}; 0: there is no such listener. */
  get backupPort(): number {
    return this.#backupServer?.port ?? 0;
  }

  get address(): VraAddress {
    return { vraId: this.options.vraId, address: this.options.address, controlPort: this.#controlPort, dataPort: this.#dataPort };
  }

  /** Names of everything that is served over NBD now. */
  get exportNames(): readonly string[] {
    return this.#exports.list().map(({ name }) => name);
  }

  /**
   * VRA_CONFLICT for a document that is older than the one in force: it was held up on its way, and must not undo what a newer one said. VRA_EPOCH for one with protections
   * of an epoch that is over: see {@link withoutOverEpochs}; it is in force without those.
   */
  async applyDesiredState(wanted: DesiredState): Promise<void> {
    if (wanted.revision < this.#desiredRevision) {
      throw new EngineError('VRA_CONFLICT', `desired state ${String(wanted.revision)} is older than ${String(this.#desiredRevision)}, which is in force`);
    }
    this.#desiredRevision = wanted.revision;
    const { desired, refusals } = withoutOverEpochs(wanted, this.#sending.desired, (vpgId) => this.#recovering.epochOfVpg(vpgId));
    await this.#desiredFile.save(desired);
    // Durable first: a VRA that forgot an unpairing in a crash would let that site in again.
    this.options.transport.believe(desired.trust?.sites ?? []);
    await this.#apply(desired);
    if (refusals.length === 0) return;
    this.options.log.error({ revision: desired.revision, refusals }, 'the ZVM knows less than this VRA: what it says of these VPGs is not in force');
    throw overError(refusals);
  }

  /** Whom the data plane believes: durable, and in force. Empty before a first document. */
  get trustedSites(): readonly TrustedSite[] {
    return this.#sending.desired.trust?.sites ?? [];
  }

  async #apply(desired: DesiredState): Promise<void> {
    await this.#sending.apply(desired);
    this.#setPeers();
  }

  async putRecovery(spec: RecoverySpec): Promise<void> {
    await this.#recovering.put(spec);
    this.#setPeers();
  }

  /** Lets go of journal and mirrors; see {@link RecoverySpec.moveNumber} for who takes them over. */
  async releaseRecovery({ vpgId, vmId, epoch, ...move }: ProtectionRef & Asked & { readonly moveNumber: number; readonly journalFolder: string }): Promise<void> {
    this.#gate.check({ vpgId, vmId }, epoch);
    await this.#recovering.release({ vpgId, vmId }, move);
    this.#setPeers();
  }

  async removeRecovery({ vpgId, vmId, isMirrorKept, epoch }: ProtectionRef & Asked & { readonly isMirrorKept: boolean }): Promise<void> {
    this.#gate.check({ vpgId, vmId }, epoch);
    await this.#recovering.remove({ vpgId, vmId }, { isMirrorKept });
    this.#setPeers();
  }

  /** A live one for who knows the newest epoch that is reserved: a manager that was restored from before another failover must not put a second history beside it. */
  async openView({ epoch, ...spec }: ViewSpec & Asked): Promise<void> {
    if (spec.purpose === 'live') this.#gate.checkNewest(spec, epoch);
    else this.#gate.check(spec, epoch);
    await this.#recovering.openView(spec);
  }

  async closeView(viewId: string, epoch?: number): Promise<void> {
    this.#gate.checkView(viewId, epoch);
    await this.#recovering.closeView(viewId);
  }

  /** VRA_UNKNOWN_VIEW */
  async promoteView(viewId: string, epoch?: number): Promise<void> {
    this.#gate.checkView(viewId, epoch);
    await this.#recovering.promoteView(viewId);
  }

  /** Keeps a checkpoint beyond retention, under a name, durably; a name that is known goes over to it. See {@link CheckpointPin}. */
  async putPin({ vpgId, vmId, name, checkpointId, keepForMs, epoch }: ProtectionRef & Asked & CheckpointPin): Promise<void> {
    this.#gate.check({ vpgId, vmId }, epoch);
    await this.#recovering.putPin({ vpgId, vmId }, { name, checkpointId, keepForMs: keepForMs ?? null });
  }

  async dropPin({ name, epoch, ...ref }: ProtectionRef & Asked & { readonly name: string }): Promise<void> {
    this.#gate.check(ref, epoch);
    await this.#recovering.recoveryOf(ref).pins.drop(name);
  }

  async reserveEpoch({ epoch, ...ref }: ProtectionRef & { readonly epoch: number }): Promise<void> {
    this.#gate.check(ref, epoch);
    await this.#recovering.recoveryOf(ref).reserveEpoch(epoch);
  }

  async commitEpoch({ epoch, ...ref }: ProtectionRef & { readonly epoch: number }): Promise<void> {
    this.#gate.check(ref, epoch);
    await this.#recovering.commitEpoch(ref, epoch);
  }

  async burnEpoch({ epoch, ...ref }: ProtectionRef & { readonly epoch: number }): Promise<void> {
    this.#gate.check(ref, epoch);
    await this.#recovering.recoveryOf(ref).burnEpoch(epoch);
  }

  /**
   * Compares everything of a protection with the recovery side and sends what differs; older checkpoints stay. Not remembered: a VRA that is started
   * anew knows nothing of what it sent before, and does the same by itself.
   */
  forceSync(ref: ProtectionRef & Asked): void {
    this.#sending.forceSync(ref);
  }

  /** See {@link checkPreseed}; VRA_PATH for a file outside the host's datastores. */
  async checkPreseed(volume: { readonly path: string; readonly sizeBytes: number }): Promise<void> {
    const { datastoreFolders } = this.options;
    if (datastoreFolders) await new DatastoreFolders(datastoreFolders).assertInside(volume.path);
    await checkPreseed(volume);
  }

  /** See {@link SendingSide.settle}. */
  settle(request: ProtectionRef & Asked & { readonly checkpointId: number }): Promise<readonly string[]> {
    return this.#sending.settle(request);
  }

  /** CHECKPOINT_FREEZE: `isApplicationConsistent` was asked for, and not every VM of the VPG could be frozen. */
  async insertCheckpoint({ vpgId, tag, isApplicationConsistent = false, epoch }: CheckpointInsert & Asked): Promise<{ readonly checkpointId: number }> {
    const barrier = this.#sending.barrierOf(vpgId);
    checkSending(`VPG ${vpgId}`, { known: barrier.spec.epoch, epoch });
    if (!isApplicationConsistent) return { checkpointId: await barrier.insert(tag, 'tagged') };
    barrier.checkLeading();
    const vraIds = barrier.spec.members.map(({ vra }) => vra.vraId);
    return { checkpointId: await this.#quiescence.during(vpgId, vraIds, () => barrier.insert(tag, 'applicationConsistent')) };
  }

  /** One page of the list, or of what changed in it. */
  listCheckpoints({ afterChange, afterCheckpointId, ...ref }: ProtectionRef & ListingQuestion): CheckpointListing {
    const recovery = this.#recovering.recoveryOf(ref);
    const page = recovery.journal.listing({ afterChange, afterCheckpointId });
    return { ...page, instance: recovery.listInstance, held: page.held.map((checkpoint) => this.#checkpointOf(checkpoint, recovery)) };
  }

  /** The disks that a checkpoint's image has, with their sizes of then: what a VM that is recovered from it is to be made of. */
  checkpointDisks({ checkpointId, ...ref }: ProtectionRef & { readonly checkpointId: number }): readonly { readonly volume: number; readonly diskId: string; readonly sizeBytes: number }[] {
    const volumes = this.#recovering.recoveryOf(ref).journal.volumesOf(checkpointId);
    return volumes.map(({ diskId, sizeBytes }, volume) => ({ volume, diskId, sizeBytes })).filter(({ sizeBytes }) => sizeBytes > 0);
  }

  /**
   * Age on the monotonic clock, plus the age on arrival. For a checkpoint from before the journal was opened the time that it was closed is
   * missing there, so the wall clock's word counts when it says more: an RPO must not look better than it is.
   */
  #checkpointOf({ checkpointId, marker, arrivedMs, arrivedAtMs }: HeldCheckpoint, { journalOpenedMs }: RecoveryHost): JournalCheckpoint {
    const runningMs = this.#ages.nowMs() - arrivedMs;
    const sinceMs = arrivedMs <= journalOpenedMs ? Math.max(runningMs, this.#ages.clocks.wallClockMs() - arrivedAtMs) : runningMs;
    const { epoch, term, vmIds, atMs, tag, kind } = marker;
    return { checkpointId, epoch, term, vmIds, atMs, ageMs: Math.max(0, sinceMs) + marker.ageMs, tag, kind };
  }

  resetEventLoopDelay(): void {
    this.#loopWatch.reset();
  }

  #samplePoints(): void {
    this.#pointAges.sample(this.#recovering.recoveries.flatMap((recovery) => {
      const { spec: { vpgId, vmId }, journal: { newestCheckpoint } } = recovery;
      return newestCheckpoint ? [{ vpgId, vmId, ageMs: this.#checkpointOf(newestCheckpoint, recovery).ageMs }] : [];
    }));
  }

  /** Of each VM that has a checkpoint here. */
  recoveryPointAges(): RecoveryPointAge[] {
    return this.#pointAges.list();
  }

  /** How long guests may have waited for this process's event loop. */
  eventLoopDelay(): EventLoopDelay {
    return this.#loopWatch.sample();
  }

  status(): EngineStatus {
    return { ...engineStatus(this.#sending, this.#recovering, this.#memory), clockDoubt: this.#ages.doubt() };
  }

  #meshHandlers(): ConstructorParameters<typeof ControlMesh>[1] {
    return {
      peerUp: (vraId) => {
        this.#sending.forEachBarrier((barrier) => barrier.peerUp(vraId));
        this.#recovering.forEachRetirement((retirement) => retirement.peerUp(vraId));
      },
      peerLost: (vraId) => {
        this.#sending.forEachBarrier((barrier) => barrier.peerLost(vraId));
        this.#quiescence.peerLost(vraId);
        this.#recovering.forEachRetirement((retirement) => retirement.peerLost(vraId));
      },
      roundTripMeasured: (vraId, roundTripMs) => this.#sending.forEachBarrier((barrier) => barrier.roundTripMeasured(vraId, roundTripMs)),
      message: (fromVraId, message) => {
        if (message.type === 'retirement') this.#recovering.retirementOf(message.vpgId)?.message(fromVraId, message);
        else this.#sending.forEachBarrier((barrier) => barrier.spec.vpgId === message.vpgId && barrier.message(fromVraId, message));
      },
      held: (fromVraId, message) => this.#recovering.held(fromVraId, message),
      quiesce: (fromVraId, message) => {
        if (this.#sending.isBarrierMember(message.vpgId, fromVraId)) this.#quiescence.message(fromVraId, message);
      },
    };
  }

  /** VRAs of this site that make checkpoints or retire journals with this one. */
  #setPeers(): void {
    const members = [
      ...this.#sending.desired.barriers.flatMap(({ members: each }) => each),
      ...this.#recovering.recoveries.flatMap(({ spec }) => spec.recoverers),
    ];
    const byId = new Map(members.map(({ vra }) => [vra.vraId, vra]));
    this.#mesh.setPeers([...byId.values()]);
  }

  /** The two sides have a timer's turn each: a journal that takes long to open must not keep streams from being opened again. */
  async #tick(side: 'recovering' | 'sending', work: (nowMs: number) => Promise<void>): Promise<void> {
    try {
      await work(performance.now());
    } catch (error) {
      this.options.log.error({ side, error: String(error) }, 'periodic work failed; it is tried again');
    }
  }

  #startTicking(side: 'recovering' | 'sending', work: (nowMs: number) => Promise<void>): void {
    const timer = setInterval(() => {
      if (this.#ticking.has(side)) return;
      const tick = this.#tick(side, work).finally(() => this.#ticking.delete(side));
      this.#ticking.set(side, tick);
    }, TICK_MS);
    this.#timers.push(timer);
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#loopWatch.close();
    await Promise.all(this.#ticking.values());
    this.#quiescence.close();
    await this.#nbdServer?.close();
    await this.#backupServer?.close();
    await this.#sending.close();
    await this.#dataServer.close();
    await this.#recovering.close();
    await this.#mesh.close();
    await this.#votes.settled();
    await this.#codecs.close();
    await this.#hashPool.close();
    this.options.transport.close();
  }
}
