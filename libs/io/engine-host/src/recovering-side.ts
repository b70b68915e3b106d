import { DatastoreFolders } from './datastore-folders.js';
import type { CheckpointPin } from './checkpoint-pins.js';
import type { DatastoreSpace } from './datastore-space.js';
import { DatastoreSpaces } from './datastore-spaces.js';
import { type HandOver, handOver } from './disk-hand-over.js';
import { assertRoomForRecovery } from './engine-memory.js';
import { EngineError } from './engine-error.js';
import { EpochGate, overThere } from './epoch-gate.js';
import { HeldExchange } from './held-exchange.js';
import type { HeldMessage } from './held-report.js';
import { JournalOwner, moveNumberOf } from './journal-owner.js';
import { JournalRepair } from './journal-repair.js';
import { assertQuiet, seizeJournal } from './journal-seizure.js';
import { OwnerWatch } from './owner-watch.js';
import { assertCanBecome } from './recovery-change.js';
import type { RecoveringState, RecoveringSurroundings, ViewEntry } from './recovering-types.js';
import { RecoveryHost } from './recovery-host.js';
import { removeRecoveryFiles, type Removal } from './removal.js';
import type { RetirementHost } from './retirement-host.js';
import { heldSurroundings, type RecoveringTables, retirementSurroundings } from './recovering-tables.js';
import { RetirementSet } from './retirement-set.js';
import { CompactionSchedule } from './compaction-schedule.js';
import { Scrubber, type ScrubStatus } from './scrubber.js';
import { StateFile } from './state-file.js';
import { protectionKey, type AttachedVmSpec, type ProtectionRef, type RecoverySpec, type ViewSpec } from './types.js';
import { ViewHost } from './view-host.js';
import { ViewOpenings } from './view-openings.js';

/** Journals opened at once at the start: their scans wait for the disk and give way to each other. */
const OPENED_AT_ONCE = 4;

/**
 * Everything of a VRA that concerns recovery: journals, mirrors, views, retirement. What is asked for is durable in the state file
 * (and in the journals) before it is answered, and is there again after a restart.
 */
export class RecoveringSide {
  readonly #file: StateFile<RecoveringState>;
  readonly #recoveries = new Map<string, RecoveryHost>();
  readonly #specs = new Map<string, RecoverySpec>();
  readonly #failed = new Map<string, string>();
  readonly #views = new Map<string, ViewHost>();
  readonly #entries = new Map<string, ViewEntry>();
  readonly #removals = new Map<string, Removal>();
  readonly #retirements: RetirementSet = new RetirementSet(retirementSurroundings(this.#tables()));
  readonly #spaces = new DatastoreSpaces();
  readonly #scrubber: Scrubber;
  readonly #compaction: CompactionSchedule;
  readonly #folders: DatastoreFolders | undefined;
  readonly #ownerWatch = new OwnerWatch({
    vraId: this.around.options.vraId,
    recoveries: () => this.recoveries,
    moved: (recovery, error) => this.#lost(recovery, error),
    problem: ({ key }, error) => this.around.options.log.warn({ protection: key, error: String(error) }, 'cannot see whom a journal belongs to; it is looked at again'),
  });
  readonly #repair = new JournalRepair({
    log: this.around.options.log,
    hasView: (key) => [...this.#entries.values()].some(({ spec }) => protectionKey(spec) === key),
    exclusive: (act) => this.#exclusive(act),
  });
  readonly #gate = new EpochGate(this);
  readonly #exchange = new HeldExchange(heldSurroundings(this.#tables(), this.#retirements));
  #last: Promise<unknown> = Promise.resolve();
  readonly #openings = new ViewOpenings({ exclusive: (act) => this.#exclusive(act), open: (spec) => this.#openOrFind(spec), save: () => this.#save() });

  constructor(private readonly around: RecoveringSurroundings) {
    this.#file = new StateFile(
      `${around.options.stateFolder}/recovering.json`, 'this VRA then has forgotten every recovery and every open view; journals, mirrors and scratch stay on their datastores. docs/spec/vra-state.md says how they come back',
    );
    this.#folders = around.options.datastoreFolders && new DatastoreFolders(around.options.datastoreFolders);
    this.#scrubber = new Scrubber(around.options.stateFolder, around.options.log);
    this.#compaction = new CompactionSchedule(around.options.log);
  }

  /** Opens everything that was there. What cannot be opened is reported and tried again; it stops nothing else. */
  async start(): Promise<void> {
    await this.#scrubber.load();
    const state = await this.#file.load();
    for (const spec of state?.recoveries ?? []) this.#specs.set(protectionKey(spec), spec);
    for (const entry of state?.views ?? []) this.#entries.set(entry.spec.viewId, entry);
    for (const removal of state?.removals ?? []) this.#removals.set(protectionKey(removal.spec), removal);
    await this.#openMissing();
  }

  /** Reads only the list of what is to be opened, so that nothing else touches those files before. */
  async loadNames(): Promise<void> {
    const state = await this.#file.load();
    for (const spec of state?.recoveries ?? []) this.#specs.set(protectionKey(spec), spec);
  }

  #tables(): RecoveringTables {
    return { recoveries: this.#recoveries, viewSpecs: () => [...this.#entries.values()].map(({ spec }) => spec), around: this.around };
  }

  #exclusive<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #openMissing(): Promise<void> {
    for (const key of this.#removals.keys()) await this.#tryFinishRemoval(key);
    const missing = [...this.#specs].filter(([key]) => !this.#recoveries.has(key));
    // One after the other: two journals of one datastore share its account.
    for (const [, spec] of missing) await this.#spaces.of(spec).catch(() => undefined); // whoever opens the journal meets it again, and says so
    const openSome = async (): Promise<void> => {
      for (let next = missing.shift(); next !== undefined; next = missing.shift()) await this.#tryOpen(...next);
    };
    await Promise.all(Array.from({ length: OPENED_AT_ONCE }, openSome));
    for (const [viewId, entry] of this.#entries) if (!this.#views.has(viewId)) await this.#tryOpenView(entry);
    this.#retirements.configure(this.recoveries);
  }

  async #tryOpen(key: string, spec: RecoverySpec): Promise<void> {
    try {
      await this.#open(key, spec);
    } catch (error) {
      if (error instanceof EngineError && error.code === 'VRA_MOVED') return await this.#forgetMoved(key, error);
      this.#failed.set(key, String(error));
      this.around.options.log.error({ protection: key, error: String(error) }, 'cannot open journal or mirror');
    }
  }

  /** It was moved while this VRA did not run: what the files say counts, and they are left alone. */
  async #forgetMoved(key: string, error: EngineError): Promise<void> {
    this.around.options.log.warn({ protection: key, reason: error.message }, 'a recovery was moved to another VRA: it is forgotten here');
    this.#specs.delete(key);
    this.#failed.delete(key);
    await this.#save();
  }

  /** It was taken over by another VRA while it was open here: nothing more is written. */
  async #lost(recovery: RecoveryHost, error: EngineError): Promise<void> {
    const { key } = recovery;
    await recovery.release();
    await this.#exclusive(async () => {
      if (this.#recoveries.get(key) !== recovery) return;
      this.#recoveries.delete(key);
      for (const [viewId, { spec }] of this.#entries) if (protectionKey(spec) === key) await this.#closeView(viewId, { isScratchDropped: false });
      await this.#forgetMoved(key, error);
      this.#scrubber.forget(key);
      this.#retirements.configure(this.recoveries);
    });
  }

  async #open(key: string, spec: RecoverySpec): Promise<void> {
    await this.#folders?.assertRecovery(spec);
    const space = await this.#spaces.of(spec);
    const hooks = { vraId: this.around.options.vraId, log: this.around.options.log, ages: this.around.ages, codecs: this.around.codecs, space, hashPool: this.around.hashPool, readCache: this.around.memory.readCache, budget: this.around.memory.receiving };
    this.#recoveries.set(key, await RecoveryHost.open(spec, hooks, { knownCount: this.#specs.get(key)?.volumes.length ?? 0 }));
    this.#failed.delete(key);
  }

  /** VRA_EPOCH when the journal that is found there is of a newer epoch than the asker knows: it is closed again. */
  async #openAnew(key: string, spec: RecoverySpec): Promise<void> {
    await this.#open(key, spec);
    const inForce = this.inForce(spec);
    if (inForce <= spec.epoch) return;
    await this.#recoveries.get(key)?.close();
    this.#recoveries.delete(key);
    throw overThere(spec.vmId, { newest: inForce, epoch: spec.epoch });
  }

  async #tryOpenView(entry: ViewEntry): Promise<void> {
    try {
      await this.#openView(entry);
    } catch (error) {
      this.#failed.set(entry.spec.viewId, String(error));
      this.around.options.log.error({ viewId: entry.spec.viewId, error: String(error) }, 'cannot open checkpoint view');
    }
  }

  async #openView(entry: ViewEntry): Promise<ViewHost> {
    const recovery = this.recoveryOf(entry.spec);
    const view = await ViewHost.open(entry.spec, recovery, { ...this.around, cut: (promoted) => this.#cut(promoted), exclusive: (act) => this.#exclusive(act) });
    this.#views.set(entry.spec.viewId, view);
    this.#failed.delete(entry.spec.viewId);
    if (entry.isPromoting) view.promote();
    return view;
  }

  /** The smaller sizes are durable before the files are cut: a mirror may be longer than its volume, never shorter. */
  async #cut({ spec: { checkpointId }, recovery }: ViewHost): Promise<void> {
    const known = this.#specs.get(recovery.key);
    if (!known || this.#recoveries.get(recovery.key) !== recovery) return; // removed meanwhile
    const volumes = recovery.sizesAt(checkpointId);
    if (volumes) {
      await this.#setSpec(recovery.key, { ...known, volumes });
      recovery.spec = { ...recovery.spec, volumes };
    }
    await recovery.cutTo(checkpointId);
  }

  /** Durable, or as before when it throws. */
  async #setSpec(key: string, spec: RecoverySpec | undefined): Promise<void> {
    const before = this.#specs.get(key);
    const set = (value: RecoverySpec | undefined): unknown => (value ? this.#specs.set(key, value) : this.#specs.delete(key));
    set(spec);
    try {
      await this.#save();
    } catch (error) {
      set(before);
      throw error;
    }
  }

  #save(): Promise<void> {
    return this.#file.save({ recoveries: [...this.#specs.values()], views: [...this.#entries.values()], removals: [...this.#removals.values()] });
  }

  recoveryOf(ref: ProtectionRef): RecoveryHost {
    const key = protectionKey(ref);
    const recovery = this.#recoveries.get(key);
    if (recovery) return recovery;
    throw new EngineError('VRA_UNKNOWN_PROTECTION', this.#failed.get(key) ?? `VM ${ref.vmId} of VPG ${ref.vpgId} is not recovered here`);
  }

  /** Of the journal; of one that is closed or cannot be opened, as it was last known. 0: nothing is recovered here. */
  inForce(ref: ProtectionRef): number {
    const key = protectionKey(ref);
    return this.#recoveries.get(key)?.stats.epoch ?? this.#specs.get(key)?.epoch ?? 0;
  }

  epochOfVpg(vpgId: string): number {
    return Math.max(0, ...[...this.#specs.values()].filter((spec) => spec.vpgId === vpgId).map((spec) => this.inForce(spec)));
  }

  /** In the journal first; in the state file too, for a start at which the journal cannot be read. */
  commitEpoch(ref: ProtectionRef, epoch: number): Promise<void> {
    return this.#exclusive(async () => {
      await this.recoveryOf(ref).commitEpoch(epoch);
      const spec = this.#specs.get(protectionKey(ref));
      if (spec) this.#specs.set(protectionKey(ref), { ...spec, epoch });
      await this.#save();
    });
  }

  find(key: string): RecoveryHost | undefined {
    return this.#recoveries.get(key);
  }

  get recoveries(): readonly RecoveryHost[] {
    return [...this.#recoveries.values()];
  }

  /** Recoveries that should be here and could not be opened. */
  get failures(): readonly { readonly spec: RecoverySpec; readonly reason: string }[] {
    return [...this.#specs].flatMap(([key, spec]) => (this.#recoveries.has(key) ? [] : [{ spec, reason: this.#failed.get(key) ?? 'being opened' }]));
  }

  get viewEntries(): readonly { readonly spec: ViewSpec; readonly view: ViewHost | undefined; readonly fault: string }[] {
    return [...this.#entries.values()].map(({ spec }) => ({ spec, view: this.#views.get(spec.viewId), fault: this.#failed.get(spec.viewId) ?? '' }));
  }

  /** Volumes may be added, grow or be removed; the journal's folder stays. History, limits, datastore and recoverers can change, the epoch does not. VRA_EPOCH when it is over. */
  async put({ isOldHostDown, ...spec }: RecoverySpec): Promise<void> {
    if (isOldHostDown === true) await this.#seize({ ...spec, isOldHostDown });
    await this.#exclusive(async () => {
      const key = protectionKey(spec);
      this.#gate.check(spec, spec.epoch);
      if (this.#removals.has(key)) throw new EngineError('VRA_CONFLICT', 'the former recovery of this VM is still being removed');
      const known = this.#specs.get(key);
      if (known) assertCanBecome(known, spec);
      else assertRoomForRecovery(this.around.memory);
      const recovery = this.#recoveries.get(key);
      if (recovery) {
        await this.#folders?.assertRecovery(spec);
        await recovery.changeVolumes(spec.volumes);
        if (known && moveNumberOf(spec) > moveNumberOf(known)) await (await JournalOwner.look(spec, this.around.options.vraId)).claim();
        recovery.spec = { ...spec, epoch: recovery.spec.epoch };
        await this.#spaces.of(spec);
      } else await this.#openAnew(key, spec);
      this.#specs.set(key, { ...spec, epoch: this.inForce(spec) });
      await this.#save();
      this.#retirements.configure(this.recoveries);
    });
  }

  /** Again whenever it is repeated, until the recovery is known here: a crash may have come before the wait was over. */
  async #seize(spec: RecoverySpec): Promise<void> {
    if (this.#specs.has(protectionKey(spec))) return;
    const { vraId, quietMs } = this.around.options;
    await this.#folders?.assertRecovery(spec);
    if (await this.#exclusive(() => seizeJournal(spec, vraId))) await assertQuiet(spec, quietMs);
  }

  /**
   * Lets go of journal and mirrors, for the VRA that takes them over by a `put` with this move's number. Durable before the first file is closed: after a crash
   * they are not opened here again. When all are closed the files say so themselves, durably: nobody takes over before. May be repeated, also where it is
   * unknown. VRA_CONFLICT while a view is open or a failover is under way.
   */
  release(ref: ProtectionRef, { moveNumber, journalFolder }: { readonly moveNumber: number; readonly journalFolder: string }): Promise<void> {
    return this.#exclusive(async () => {
      const key = protectionKey(ref);
      const spec = this.#specs.get(key);
      // What this host cannot see it has never opened; and if it has, whoever comes next reads in the files that it has not let go.
      if (!spec && (await this.#folders?.isInside(journalFolder)) === false) return;
      if (spec && moveNumberOf(spec) >= moveNumber) throw new EngineError('VRA_CONFLICT', `move ${String(moveNumberOf(spec))} brought this recovery here: move ${String(moveNumber)} is older`);
      const view = [...this.#entries.values()].find((entry) => protectionKey(entry.spec) === key);
      if (view) throw new EngineError('VRA_CONFLICT', `view ${view.spec.viewId} (${view.spec.purpose}) is open: stop the failover test, or end the failover, first`);
      const recovery = this.#recoveries.get(key);
      const reason = recovery?.releaseError;
      if (reason) throw reason;
      if (spec) await this.#setSpec(key, undefined);
      this.#failed.delete(key);
      await recovery?.release();
      if (this.#recoveries.delete(key)) this.around.options.log.info({ protection: key, moveNumber }, 'recovery released: another VRA takes it over');
      this.#scrubber.forget(key);
      this.#retirements.configure(this.recoveries);
      await JournalOwner.letGo(spec?.journalFolder ?? journalFolder, { vraId: this.around.options.vraId, moveNumber });
    });
  }

  /**
   * Ends the recovery and deletes its journal, and its mirrors unless they are kept. VRA_CONFLICT when they are to be kept and are not yet the
   * disks of a committed failover: what its guest wrote lies in scratch.
   */
  remove(ref: ProtectionRef, { isMirrorKept }: { readonly isMirrorKept: boolean }): Promise<void> {
    return this.#exclusive(async () => {
      const key = protectionKey(ref);
      const spec = this.#specs.get(key);
      if (spec) await this.#beginRemoval(key, spec, isMirrorKept);
      if (!this.#removals.has(key)) return;
      await this.#finishRemoval(key);
      this.#retirements.configure(this.recoveries);
      this.around.options.log.info({ protection: key, isMirrorKept }, 'recovery removed');
    });
  }

  async #beginRemoval(key: string, spec: RecoverySpec, isMirrorKept: boolean): Promise<void> {
    const viewIds = [...this.#entries.values()].filter((entry) => protectionKey(entry.spec) === key).map((entry) => entry.spec.viewId);
    if (isMirrorKept) for (const viewId of viewIds) this.#checkDispensable(viewId);
    this.#removals.set(key, { spec, isMirrorKept, viewIds });
    const entries = viewIds.flatMap((viewId) => this.#entries.get(viewId) ?? []);
    this.#specs.delete(key);
    for (const viewId of viewIds) this.#entries.delete(viewId);
    try {
      await this.#save();
    } catch (error) {
      this.#removals.delete(key);
      this.#specs.set(key, spec);
      for (const entry of entries) this.#entries.set(entry.spec.viewId, entry);
      throw error;
    }
  }

  /** Every step may find that it was done before a crash. */
  async #finishRemoval(key: string): Promise<void> {
    const removal = this.#removals.get(key);
    if (!removal) return;
    for (const viewId of removal.viewIds) await this.#closeView(viewId);
    const recovery = this.#recoveries.get(key);
    this.#recoveries.delete(key);
    this.#failed.delete(key);
    await recovery?.end();
    // Again: what was a folder when the recovery was made may have become a link since.
    await this.#folders?.assertRecovery(removal.spec);
    await removeRecoveryFiles(removal);
    this.#scrubber.forget(key);
    this.#removals.delete(key);
    await this.#save();
  }

  async #tryFinishRemoval(key: string): Promise<void> {
    try {
      await this.#finishRemoval(key);
    } catch (error) {
      this.around.options.log.error({ protection: key, error: String(error) }, 'cannot remove what is left of a recovery; it is tried again');
    }
  }

  /** Throws VRA_CONFLICT for the view of a committed failover that is not promoted: its scratch is all that there is of the guest's writes. */
  #checkDispensable(viewId: string): void {
    const entry = this.#entries.get(viewId);
    if (!entry || entry.spec.purpose !== 'live' || this.#views.get(viewId)?.isPromoted === true) return;
    const isCommitted = entry.isPromoting || this.#recoveries.get(protectionKey(entry.spec))?.stats.state.phase === 'ended';
    if (isCommitted) throw new EngineError('VRA_CONFLICT', `view ${viewId} belongs to a committed failover and is not promoted yet`);
  }

  openView(spec: ViewSpec): Promise<void> {
    return this.#openings.open(spec);
  }

  async #openOrFind(spec: ViewSpec): Promise<void> {
    const known = this.#entries.get(spec.viewId);
    if (known && JSON.stringify(known.spec) !== JSON.stringify(spec)) throw new EngineError('VRA_CONFLICT', `there is another view ${spec.viewId}`);
    if (!this.#views.has(spec.viewId)) await this.#openNewView(known ?? { spec, isPromoting: false });
  }

  async #openNewView(entry: ViewEntry): Promise<void> {
    const { spec } = entry;
    await this.#exchange.pinnable(spec.vpgId, spec.checkpointId);
    const recovery = this.recoveryOf(spec);
    if (!recovery.journal.holds(spec.checkpointId)) {
      throw new EngineError('VRA_UNKNOWN_CHECKPOINT', `the journal of VM ${spec.vmId} does not hold checkpoint ${String(spec.checkpointId)}`);
    }
    this.#checkPinnable(spec.vpgId, spec.checkpointId);
    // Known before the first wait: a retirement that asks for pins meanwhile is told of this one.
    this.#entries.set(spec.viewId, entry);
    try {
      await this.#openView(entry);
    } catch (error) {
      this.#entries.delete(spec.viewId);
      throw error;
    }
  }

  /** Keeps a checkpoint under a name, durably. VRA_UNKNOWN_CHECKPOINT; VRA_CONFLICT when it is being retired. */
  putPin(ref: ProtectionRef, pin: CheckpointPin): Promise<void> {
    return this.#exclusive(async () => {
      await this.#exchange.pinnable(ref.vpgId, pin.checkpointId);
      this.#checkPinnable(ref.vpgId, pin.checkpointId);
      await this.recoveryOf(ref).pins.put(pin);
    });
  }

  #checkPinnable(vpgId: string, checkpointId: number): void {
    if (this.#retirements.of(vpgId)?.canPin(checkpointId) === false) throw new EngineError('VRA_CONFLICT', `checkpoint ${String(checkpointId)} is being retired`);
  }

  closeView(viewId: string): Promise<void> {
    return this.#exclusive(async () => {
      this.#checkDispensable(viewId);
      await this.#closeView(viewId);
      await this.#save();
    });
  }

  async #closeView(viewId: string, { isScratchDropped = true } = {}): Promise<void> {
    await this.#views.get(viewId)?.close({ isScratchDropped });
    this.#views.delete(viewId);
    this.#entries.delete(viewId);
    this.#failed.delete(viewId);
  }

  viewSpec(viewId: string): ViewSpec | undefined {
    return this.#entries.get(viewId)?.spec;
  }

  promoteView(viewId: string): Promise<void> {
    return this.#exclusive(async () => {
      const entry = this.#entries.get(viewId);
      const view = this.#views.get(viewId);
      if (!entry || !view) throw new EngineError('VRA_UNKNOWN_VIEW', `no view ${viewId}`);
      entry.isPromoting = true;
      await this.#save();
      view.promote();
    });
  }

  /** See {@link SendingSurroundings.takeOver}. */
  takeOver(spec: AttachedVmSpec): HandOver | 'notYet' {
    return handOver(spec, { views: this.#views.values(), recoveries: this.#specs.values() });
  }

  retirementOf(vpgId: string): RetirementHost | undefined {
    return this.#retirements.of(vpgId);
  }

  forEachRetirement(act: (retirement: RetirementHost) => void): void {
    this.#retirements.forEach(act);
  }

  held(fromVraId: string, message: HeldMessage): void {
    this.#exchange.message(fromVraId, message);
  }

  scrubOf(key: string): ScrubStatus {
    return this.#scrubber.statusOf(key);
  }

  get datastores(): readonly DatastoreSpace[] {
    return this.#spaces.all;
  }

  async tick(nowMs: number): Promise<void> {
    for (const recovery of this.#recoveries.values()) {
      recovery.tick(nowMs);
      await recovery.dropUnneededMirrors();
      await recovery.pins.tick();
    }
    this.#exchange.tick(nowMs);
    for (const { view } of this.viewEntries) view?.retryPromotion(nowMs);
    await this.#repair.tick(nowMs, this.recoveries);
    this.#scrubber.tick(nowMs, Date.now(), this.recoveries);
    this.#compaction.tick(nowMs, this.recoveries);
    if (this.#removals.size > 0 || this.#recoveries.size < this.#specs.size || this.#views.size < this.#entries.size) await this.#exclusive(() => this.#openMissing());
  }

  async close(): Promise<void> {
    await this.#last;
    this.#exchange.close();
    await this.#ownerWatch.close();
    await Promise.all([this.#scrubber.close(), this.#compaction.close()]);
    this.#retirements.close();
    for (const view of this.#views.values()) await view.close({ isScratchDropped: false });
    for (const recovery of this.#recoveries.values()) await recovery.close();
    this.#spaces.close();
  }
}
