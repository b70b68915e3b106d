import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DirtyBitmap } from '@tidemark/extent';
import type { JournalVolumeState } from '@tidemark/journal';
import type { CheckpointView } from '@tidemark/journal-file';
import type { ExportTable } from '@tidemark/nbd-server';
import { Backoff } from './backoff.js';
import { EngineError } from './engine-error.js';
import type { RecoveryHost } from './recovery-host.js';
import type { Logger, ViewSpec } from './types.js';

export interface ViewProgress {
  readonly state: 'open' | 'promoting' | 'promoted' | 'failed';
  readonly detail: string;
  /** The guest's newest write was answered with ENOSPC. */
  readonly isScratchFull: boolean;
  readonly scratchBytes: number;
  readonly promotedBytes: number;
  readonly totalBytes: number;
}

export interface ViewSurroundings extends ViewTables {
  readonly options: { readonly log: Logger };
  /** The disks are promoted, durably: they get the sizes of the view's checkpoint. May be repeated. */
  readonly cut: (view: ViewHost) => Promise<void>;
  /** One change of what is recovered at a time; {@link ViewHost.open} is part of one. */
  readonly exclusive: (act: () => Promise<void>) => Promise<void>;
}

export interface ViewTables {
  /** What the hypervisor of this host gets. */
  readonly exports: ExportTable;
  /** What may be read over the network. */
  readonly backupExports: ExportTable;
}

const SCRATCH_FULL = 'scratch is full: writes of this VM fail with ENOSPC until its limit is raised or the datastore has room';

/** The disks of one VM at one checkpoint, served over NBD with writes to scratch, until it is closed or promoted. */
export class ViewHost {
  #failure = '';
  #isCut = false;
  #promotion: Promise<void> | undefined;
  #retry: Backoff | undefined;
  #ownedExports: string[] = [];
  readonly #volumes: readonly JournalVolumeState[];

  private constructor(
    readonly spec: ViewSpec,
    readonly recovery: RecoveryHost,
    private readonly view: CheckpointView,
    private readonly around: ViewSurroundings,
    private readonly log: Logger,
  ) {
    this.#volumes = recovery.journal.volumesOf(spec.checkpointId);
  }

  static scratchFolder({ journalFolder }: { readonly journalFolder: string }, viewId: string): string {
    return join(journalFolder, '..', `scratch-${viewId}`);
  }

  /** Pins the checkpoint, opens scratch (with what a view of the same id left there) and exports the disks. */
  static async open(spec: ViewSpec, recovery: RecoveryHost, around: ViewSurroundings): Promise<ViewHost> {
    const { log } = around.options;
    const scratchFolder = ViewHost.scratchFolder(recovery.spec, spec.viewId);
    const view = await recovery.journal.openView({
      checkpointId: spec.checkpointId, scratchFolder, scratchRoomBytes: (bytes) => recovery.scratchRoomBytes(bytes),
    });
    const host = new ViewHost(spec, recovery, view, around, log);
    try {
      if (view.phase === 'promoted') await host.#cut();
      host.#export();
    } catch (error) {
      // Whatever stands in the way (an export of that name): no pin, no open scratch and none of the exports stay behind.
      await host.close({ isScratchDropped: false });
      throw error;
    }
    log.info({ viewId: spec.viewId, vmId: spec.vmId, checkpointId: spec.checkpointId }, 'checkpoint view opened');
    return host;
  }

  #export(): void {
    const { vmId, checkpointId } = this.spec;
    for (const { diskId, exportName } of this.spec.volumes) {
      const volume = this.view.volumes[this.volumeIndexOf(diskId)];
      if (!volume) throw new EngineError('VRA_DISK', `VM ${vmId} has no disk ${diskId} at checkpoint ${String(checkpointId)}`);
      const isRead = this.spec.purpose === 'read';
      const shown = { name: exportName, volume, isReadOnly: isRead, description: `${vmId} ${diskId} at checkpoint ${String(checkpointId)}` };
      this.around.exports.add(shown);
      this.#ownedExports.push(exportName);
      if (isRead) this.around.backupExports.add(shown);
    }
  }

  /** Of the disk that had this id at the checkpoint: before and after, another one may have had it. */
  volumeIndexOf(diskId: string): number {
    return this.#volumes.findIndex((volume) => volume.diskId === diskId && volume.sizeBytes > 0);
  }

  /** What the guest has written since the checkpoint; undefined: not known. */
  changedBlocks(index: number): DirtyBitmap | undefined {
    return this.view.volumes[index]?.changedBlocks;
  }

  /** Starts promotion, or finds it under way. It runs on in the background; {@link progress} tells. */
  promote(): void {
    this.#failure = '';
    this.#promotion ??= this.#promote().then(
      () => this.log.info({ viewId: this.spec.viewId, vmId: this.spec.vmId }, 'promotion done'),
      (error: unknown) => {
        this.#failure = String(error);
        this.#promotion = undefined;
        this.#retry ??= new Backoff(performance.now());
        this.#retry.failed(performance.now());
        this.log.error({ viewId: this.spec.viewId, vmId: this.spec.vmId, error: this.#failure }, 'promotion failed');
      },
    );
  }

  async #promote(): Promise<void> {
    await this.view.promote();
    await this.around.exclusive(() => this.#cut());
  }

  async #cut(): Promise<void> {
    if (this.#isCut) return;
    await this.around.cut(this);
    this.#isCut = true;
  }

  /** A failed promotion begins again by itself; everything that it needs is still there. */
  retryPromotion(nowMs: number): void {
    if (this.#failure !== '' && this.#promotion === undefined && this.#retry?.isDue(nowMs) === true) this.promote();
  }

  get isPromoted(): boolean {
    return this.#isCut;
  }

  /** Not `promoted` before the files are as long as the disks: whoever sees that takes them. */
  get #state(): ViewProgress['state'] {
    if (this.#failure !== '') return 'failed';
    return this.view.phase === 'promoted' && !this.#isCut ? 'promoting' : this.view.phase;
  }

  progress(): ViewProgress {
    const { promotedBytes, totalBytes } = this.view.progress;
    return {
      state: this.#state,
      detail: this.#detail(),
      isScratchFull: this.view.isScratchFull,
      scratchBytes: this.view.scratchBytes,
      promotedBytes,
      totalBytes,
    };
  }

  #detail(): string {
    if (this.#failure === '') return this.view.isScratchFull ? SCRATCH_FULL : '';
    const inMs = this.#retry?.remainingMs(performance.now()) ?? 0;
    return `${this.#failure}; it is tried again in ${String(Math.ceil(inMs / 1000))} s`;
  }

  ownsExport(exportName: string): boolean {
    return this.#ownedExports.includes(exportName);
  }

  /** The export lives on under another volume (the promoted file): closing the view leaves it alone. */
  disownExport(exportName: string): void {
    this.#ownedExports = this.#ownedExports.filter((name) => name !== exportName);
  }

  /** See {@link disownExport}: nobody took it after all. */
  ownExport(exportName: string): void {
    this.#ownedExports.push(exportName);
  }

  async close({ isScratchDropped }: { readonly isScratchDropped: boolean }): Promise<void> {
    const { exports, backupExports } = this.around;
    await Promise.all(this.#ownedExports.flatMap((name) => [exports.remove(name), ...(backupExports.find(name) ? [backupExports.remove(name)] : [])]));
    await this.view.close();
    if (isScratchDropped) await rm(ViewHost.scratchFolder(this.recovery.spec, this.spec.viewId), { recursive: true, force: true });
  }
}
