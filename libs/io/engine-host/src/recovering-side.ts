import type { RetirementMessage } from '@tidemark/checkpoint';
import type { HeldCheckpoint } from '@tidemark/journal';
import type { ExportTable } from '@tidemark/nbd-server';
import type { BlockFile } from '@tidemark/block-file';
import { DatastoreSpace } from './datastore-space.js';
import { EngineError } from './engine-error.js';
import { commonCheckpoints, HELD_REPORT_MAX, type HeldReport } from './held-report.js';
import { RecoveryHost } from './recovery-host.js';
import { RetirementHost } from './retirement-host.js';
import { StateFile } from './state-file.js';
import { protectionKey, type AttachedVmSpec, type ProtectionRef, type RecoverySpec, type ViewSpec, type VraOptions } from './types.js';
import { ViewHost } from './view-host.js';

interface ViewEntry {
  readonly spec: ViewSpec;
  isPromoting: boolean;
}

interface RecoveringState {
  readonly recoveries: readonly RecoverySpec[];
  readonly views: readonly ViewEntry[];
}

export interface RecoveringSurroundings {
  readonly options: VraOptions;
  readonly exports: ExportTable;
  sendRetirement(vraId: string, message: RetirementMessage | HeldReport): void;
  isPeerUp(vraId: string): boolean;
  onCheckpointsChanged(key: string): void;
}

/** How often what the journals hold is reported to the VRA that leads retirement. */
const REPORT_MS = 5000;
/** Reports older than this say nothing about now: nobody retires by them. */
const REPORT_AGE_MS_MAX = 3 * REPORT_MS;

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
  readonly #retirements = new Map<string, RetirementHost>();
  readonly #spaces = new Map<string, DatastoreSpace>();
  readonly #reports = new Map<string, { readonly report: HeldReport; readonly atMs: number }>();
  #reportedAtMs = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly around: RecoveringSurroundings) {
    this.#file = new StateFile(`${around.options.stateFolder}/recovering.json`);
  }

  /** Opens everything that was there. What cannot be opened is reported and tried again; it stops nothing else. */
  async start(): Promise<void> {
    const state = await this.#file.load();
    for (const spec of state?.recoveries ?? []) this.#specs.set(protectionKey(spec), spec);
    for (const entry of state?.views ?? []) this.#entries.set(entry.spec.viewId, entry);
    await this.#openMissing();
  }

  /** Reads only the list of what is to be opened, so that nothing else touches those files before. */
  async loadNames(): Promise<void> {
    const state = await this.#file.load();
    for (const spec of state?.recoveries ?? []) this.#specs.set(protectionKey(spec), spec);
  }

  #exclusive<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #openMissing(): Promise<void> {
    for (const [key, spec] of this.#specs) if (!this.#recoveries.has(key)) await this.#tryOpen(key, spec);
    for (const [viewId, entry] of this.#entries) if (!this.#views.has(viewId)) await this.#tryOpenView(entry);
    this.#configureRetirements();
  }

  async #tryOpen(key: string, spec: RecoverySpec): Promise<void> {
    try {
      await this.#open(key, spec);
    } catch (error) {
      this.#failed.set(key, String(error));
      this.around.options.log.error({ protection: key, error: String(error) }, 'cannot open journal or mirror');
    }
  }

  async #open(key: string, spec: RecoverySpec): Promise<void> {
    const space = await this.#space(spec);
    const hooks = { log: this.around.options.log, space, onCheckpointsChanged: (changed: string) => this.around.onCheckpointsChanged(changed) };
    this.#recoveries.set(key, await RecoveryHost.open(spec, hooks));
    this.#failed.delete(key);
  }

  async #space({ datastore }: RecoverySpec): Promise<DatastoreSpace> {
    let space = this.#spaces.get(datastore.path);
    if (!space) {
      space = await DatastoreSpace.open(datastore.path, datastore.capacityBytes);
      this.#spaces.set(datastore.path, space);
    }
    space.capacityBytes = datastore.capacityBytes;
    return space;
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
    const view = await ViewHost.open(entry.spec, recovery, { exports: this.around.exports, log: this.around.options.log });
    this.#views.set(entry.spec.viewId, view);
    this.#failed.delete(entry.spec.viewId);
    if (entry.isPromoting) view.promote();
    return view;
  }

  #save(): Promise<void> {
    return this.#file.save({ recoveries: [...this.#specs.values()], views: [...this.#entries.values()] });
  }

  recoveryOf(ref: ProtectionRef): RecoveryHost {
    const key = protectionKey(ref);
    const recovery = this.#recoveries.get(key);
    if (recovery) return recovery;
    throw new EngineError('VRA_UNKNOWN_PROTECTION', this.#failed.get(key) ?? `VM ${ref.vmId} of VPG ${ref.vpgId} is not recovered here`);
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

  /** Volumes cannot change (a later issue): history, datastore and recoverers can. */
  put(spec: RecoverySpec): Promise<void> {
    return this.#exclusive(async () => {
      const key = protectionKey(spec);
      const recovery = this.#recoveries.get(key);
      if (recovery) {
        if (JSON.stringify(recovery.spec.volumes) !== JSON.stringify(spec.volumes)) throw new EngineError('VRA_CONFLICT', 'the volumes of a recovery cannot be changed');
        recovery.spec = { ...spec, epoch: recovery.spec.epoch };
        await this.#space(spec);
      } else await this.#open(key, spec);
      this.#specs.set(key, spec);
      await this.#save();
      this.#configureRetirements();
    });
  }

  remove(ref: ProtectionRef, options: { readonly isMirrorKept: boolean }): Promise<void> {
    return this.#exclusive(async () => {
      const key = protectionKey(ref);
      if (!this.#specs.has(key)) return;
      for (const [viewId, { spec }] of this.#entries) if (protectionKey(spec) === key) await this.#closeView(viewId);
      await this.recoveryOf(ref).remove(options);
      this.#recoveries.delete(key);
      this.#specs.delete(key);
      await this.#save();
      this.#configureRetirements();
      this.around.options.log.info({ protection: key, ...options }, 'recovery removed');
    });
  }

  openView(spec: ViewSpec): Promise<void> {
    return this.#exclusive(async () => {
      if (this.#views.has(spec.viewId)) return;
      const recovery = this.recoveryOf(spec);
      if (!recovery.held().some(({ checkpointId }) => checkpointId === spec.checkpointId)) {
        throw new EngineError('VRA_UNKNOWN_CHECKPOINT', `the journal of VM ${spec.vmId} does not hold checkpoint ${String(spec.checkpointId)}`);
      }
      if (this.#retirements.get(spec.vpgId)?.canPin(spec.checkpointId) === false) {
        throw new EngineError('VRA_CONFLICT', `checkpoint ${String(spec.checkpointId)} is being retired`);
      }
      const entry = { spec, isPromoting: false };
      await this.#openView(entry);
      this.#entries.set(spec.viewId, entry);
      await this.#save();
    });
  }

  closeView(viewId: string): Promise<void> {
    return this.#exclusive(async () => {
      await this.#closeView(viewId);
      await this.#save();
    });
  }

  async #closeView(viewId: string): Promise<void> {
    await this.#views.get(viewId)?.close({ isScratchDropped: true });
    this.#views.delete(viewId);
    this.#entries.delete(viewId);
    this.#failed.delete(viewId);
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

  /** See {@link SendingSurroundings.takeOver}: a promoted view's exports and files go to the VM that now has the disks. */
  takeOver(spec: AttachedVmSpec): ReadonlyMap<string, BlockFile> | 'notYet' {
    const taken = new Map<string, BlockFile>();
    const owners: { readonly view: ViewHost; readonly index: number; readonly exportName: string }[] = [];
    for (const { exportName, path } of spec.disks) {
      const owner = this.#ownerOf(exportName);
      if (owner) {
        if (!owner.view.isPromoted) return 'notYet';
        owners.push({ ...owner, exportName });
      } else if (this.#isMirror(path)) return 'notYet';
    }
    for (const { view, index, exportName } of owners) {
      view.disownExport(exportName);
      taken.set(exportName, view.recovery.takeMirror(index));
    }
    return taken;
  }

  #ownerOf(exportName: string): { readonly view: ViewHost; readonly index: number } | undefined {
    for (const view of this.#views.values()) {
      const volume = view.spec.volumes.find((each) => each.exportName === exportName);
      if (!volume || !view.ownsExport(exportName)) continue;
      return { view, index: view.recovery.spec.volumes.findIndex(({ diskId }) => diskId === volume.diskId) };
    }
    return undefined;
  }

  /** A volume that is still somebody's mirror must not be written by a guest. */
  #isMirror(path: string): boolean {
    return [...this.#specs.values()].some(({ volumes }) => volumes.some(({ mirrorPath }) => mirrorPath === path));
  }

  #configureRetirements(): void {
    const byVpg = new Map<string, RecoverySpec[]>();
    for (const recovery of this.#recoveries.values()) byVpg.set(recovery.spec.vpgId, [...(byVpg.get(recovery.spec.vpgId) ?? []), recovery.spec]);
    for (const [vpgId, host] of this.#retirements) {
      if (byVpg.has(vpgId)) continue;
      host.close();
      this.#retirements.delete(vpgId);
    }
    for (const [vpgId, [spec]] of byVpg) if (spec) this.#configureRetirement(vpgId, spec);
  }

  #configureRetirement(vpgId: string, spec: RecoverySpec): void {
    const recoverers = spec.recoverers.map(({ vra, vmIds }) => ({ vraId: vra.vraId, vmIds }));
    const config = { vpgId, epoch: spec.epoch, recoverers, historyMs: spec.historyMs };
    const host = this.#retirements.get(vpgId);
    if (host) {
      if (JSON.stringify(host.config) !== JSON.stringify(config)) host.configure(config);
      return;
    }
    const ofVms = (vmIds: readonly string[]): RecoveryHost[] => vmIds.map((vmId) => this.recoveryOf({ vpgId, vmId }));
    this.#retirements.set(
      vpgId,
      new RetirementHost(config, 0, {
        selfVraId: this.around.options.vraId,
        log: this.around.options.log,
        send: (vraId, message) => this.around.sendRetirement(vraId, message),
        isPeerUp: (vraId) => this.around.isPeerUp(vraId),
        pinnedReason: (checkpointId) => this.#pinnedReason(vpgId, checkpointId),
        makeRetired: async (checkpointId, vmIds) => {
          for (const recovery of ofVms(vmIds)) await recovery.journal.retire(checkpointId);
        },
        allowApply: async (checkpointId, vmIds) => {
          for (const recovery of ofVms(vmIds)) await recovery.journal.allowApply(checkpointId);
        },
      }),
    );
  }

  #pinnedReason(vpgId: string, checkpointId: number): string | undefined {
    const pin = [...this.#entries.values()].find(({ spec }) => spec.vpgId === vpgId && spec.checkpointId <= checkpointId);
    return pin && `view ${pin.spec.viewId} needs checkpoint ${String(pin.spec.checkpointId)}`;
  }

  retirementOf(vpgId: string): RetirementHost | undefined {
    return this.#retirements.get(vpgId);
  }

  forEachRetirement(act: (retirement: RetirementHost) => void): void {
    for (const retirement of this.#retirements.values()) act(retirement);
  }

  heldReport(fromVraId: string, report: HeldReport): void {
    this.#reports.set(`${report.vpgId}/${fromVraId}`, { report, atMs: performance.now() });
  }

  #sendReports(nowMs: number): void {
    if (nowMs - this.#reportedAtMs < REPORT_MS) return;
    this.#reportedAtMs = nowMs;
    for (const [vpgId, retirement] of this.#retirements) {
      const report = this.#ownReport(vpgId, nowMs);
      const [leader, ...others] = retirement.config.recoverers;
      if (!leader) continue;
      if (!retirement.isLeading) {
        this.around.sendRetirement(leader.vraId, report);
        continue;
      }
      const reports = others.map(({ vraId }) => this.#reports.get(`${vpgId}/${vraId}`));
      const fresh = reports.flatMap((entry) => (entry && nowMs - entry.atMs < REPORT_AGE_MS_MAX ? [entry.report] : []));
      if (fresh.length === others.length) retirement.listed(commonCheckpoints([report, ...fresh]));
    }
  }

  #ownReport(vpgId: string, nowMs: number): HeldReport {
    const lists = [...this.#recoveries.values()].filter(({ spec }) => spec.vpgId === vpgId).map((recovery) => reportOf(vpgId, recovery.held(), nowMs));
    const common = commonCheckpoints(lists);
    const cut = common.length > HELD_REPORT_MAX ? [...common.slice(0, HELD_REPORT_MAX), ...common.slice(-1)] : common;
    return { type: 'held', vpgId, checkpointIds: cut.map(({ checkpointId }) => checkpointId), agesMs: cut.map(({ ageMs }) => ageMs) };
  }

  async tick(nowMs: number): Promise<void> {
    for (const recovery of this.#recoveries.values()) recovery.tick();
    this.#sendReports(nowMs);
    if (this.#recoveries.size < this.#specs.size || this.#views.size < this.#entries.size) await this.#exclusive(() => this.#openMissing());
  }

  async close(): Promise<void> {
    await this.#last;
    for (const retirement of this.#retirements.values()) retirement.close();
    for (const view of this.#views.values()) await view.close({ isScratchDropped: false });
    for (const recovery of this.#recoveries.values()) await recovery.close();
    for (const space of this.#spaces.values()) space.close();
  }
}

function reportOf(vpgId: string, held: readonly HeldCheckpoint[], nowMs: number): HeldReport {
  return {
    type: 'held',
    vpgId,
    checkpointIds: held.map(({ checkpointId }) => checkpointId),
    agesMs: held.map(({ arrivedMs, marker }) => Math.max(0, Math.floor(nowMs - arrivedMs + marker.ageMs))),
  };
}
