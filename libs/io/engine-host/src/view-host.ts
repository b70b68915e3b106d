import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CheckpointView } from '@tidemark/journal-file';
import type { ExportTable } from '@tidemark/nbd-server';
import { EngineError } from './engine-error.js';
import type { RecoveryHost } from './recovery-host.js';
import type { Logger, ViewSpec } from './types.js';

export interface ViewProgress {
  readonly state: 'open' | 'promoting' | 'promoted' | 'failed';
  readonly detail: string;
  readonly scratchBytes: number;
  readonly promotedBytes: number;
  readonly totalBytes: number;
}

/** The disks of one VM at one checkpoint, served over NBD with writes to scratch, until it is closed or promoted. */
export class ViewHost {
  #failure = '';
  #promotion: Promise<void> | undefined;
  #ownedExports: string[];

  private constructor(
    readonly spec: ViewSpec,
    readonly recovery: RecoveryHost,
    private readonly view: CheckpointView,
    private readonly exports: ExportTable,
    private readonly log: Logger,
  ) {
    this.#ownedExports = spec.volumes.map(({ exportName }) => exportName);
  }

  static scratchFolder(recovery: RecoveryHost, viewId: string): string {
    return join(recovery.spec.journalFolder, '..', `scratch-${viewId}`);
  }

  /** Pins the checkpoint, opens scratch (with what a view of the same id left there) and exports the disks. */
  static async open(spec: ViewSpec, recovery: RecoveryHost, { exports, log }: { exports: ExportTable; log: Logger }): Promise<ViewHost> {
    const scratchFolder = ViewHost.scratchFolder(recovery, spec.viewId);
    const view = await recovery.journal.openView({ checkpointId: spec.checkpointId, scratchFolder });
    const host = new ViewHost(spec, recovery, view, exports, log);
    for (const { diskId, exportName } of spec.volumes) {
      const index = recovery.spec.volumes.findIndex((volume) => volume.diskId === diskId);
      const volume = view.volumes[index];
      if (!volume) {
        await host.close({ isScratchDropped: false });
        throw new EngineError('VRA_DISK', `VM ${spec.vmId} has no disk ${diskId} at the recovery site`);
      }
      exports.add({ name: exportName, volume, description: `${spec.vmId} ${diskId} at checkpoint ${String(spec.checkpointId)}` });
    }
    log.info({ viewId: spec.viewId, vmId: spec.vmId, checkpointId: spec.checkpointId }, 'checkpoint view opened');
    return host;
  }

  /** Starts promotion, or finds it under way. It runs on in the background; {@link progress} tells. */
  promote(): void {
    this.#failure = '';
    this.#promotion ??= this.view.promote().then(
      () => this.log.info({ viewId: this.spec.viewId, vmId: this.spec.vmId }, 'promotion done'),
      (error: unknown) => {
        this.#failure = String(error);
        this.#promotion = undefined;
        this.log.error({ viewId: this.spec.viewId, vmId: this.spec.vmId, error: this.#failure }, 'promotion failed');
      },
    );
  }

  get isPromoted(): boolean {
    return this.view.phase === 'promoted';
  }

  progress(): ViewProgress {
    const { promotedBytes, totalBytes } = this.view.progress;
    return {
      state: this.#failure === '' ? this.view.phase : 'failed',
      detail: this.#failure,
      scratchBytes: this.view.scratchBytes,
      promotedBytes,
      totalBytes,
    };
  }

  ownsExport(exportName: string): boolean {
    return this.#ownedExports.includes(exportName);
  }

  /** The export lives on under another volume (the promoted file): closing the view leaves it alone. */
  disownExport(exportName: string): void {
    this.#ownedExports = this.#ownedExports.filter((name) => name !== exportName);
  }

  async close({ isScratchDropped }: { readonly isScratchDropped: boolean }): Promise<void> {
    await Promise.all(this.#ownedExports.map((name) => this.exports.remove(name)));
    await this.view.close();
    if (isScratchDropped) await rm(ViewHost.scratchFolder(this.recovery, this.spec.viewId), { recursive: true, force: true });
  }
}
