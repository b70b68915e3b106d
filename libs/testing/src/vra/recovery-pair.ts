import { join } from 'node:path';
import { MiB } from '@tidemark/base';
import { BlockFile } from '@tidemark/block-file';
import { VraEngine } from '@tidemark/engine-host';
import { FileBench, IDENTITY, write } from '@tidemark/journal-file/testing';
import { plainTransport } from '@tidemark/link/plain';

const DISK_BYTES = MiB / 16;
const SITE = 'aaaaaaaa-0000-4000-8000-000000000001';
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

const openDisk = (folder: string): Promise<BlockFile> => BlockFile.open({ path: join(folder, 'disk.raw'), sizeBytes: DISK_BYTES, isReadOnly: false, create: true });
const openBench = (folder: string, mirror: BlockFile): Promise<FileBench> => FileBench.make({ folder: join(folder, 'journal'), mirrors: [mirror] });

/** VRAs, by id, that see one folder as their datastore: with one VM's recovery, as a stream that was cut off has left it. Nothing is sent to them. */
export class RecoveryPair {
  static readonly identity = IDENTITY;
  static readonly diskBytes = DISK_BYTES;
  readonly #engines = new Map<string, VraEngine>();

  constructor(
    readonly folder: string,
    private readonly options: { readonly quietMs: number; readonly isUnseenBy?: string | undefined },
  ) {}

  /** Journal (in `journal`) with checkpoints 1 to 3, and mirror (`disk.raw`). */
  static async makeRecovery(folder: string): Promise<void> {
    const mirror = await openDisk(folder);
    const bench = await openBench(folder, mirror);
    await bench.base();
    for (const fill of [1, 2, 3]) {
      await bench.sendDurable([write(0, Buffer.alloc(4096, fill))]);
      await bench.checkpoint();
    }
    await bench.journal.close();
    await mirror.close();
  }

  async start(vraId: string): Promise<void> {
    if (this.#engines.has(vraId)) return;
    const self = { siteId: SITE, role: 'vra', instanceId: vraId } as const;
    this.#engines.set(vraId, await VraEngine.start({
      vraId, transport: plainTransport({ self, peer: self }), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(this.folder, `${vraId}.sock`),
      stateFolder: join(this.folder, vraId), captureBytesMax: MiB, quietMs: this.options.quietMs, log: quiet,
      ...(vraId === this.options.isUnseenBy && { datastoreFolders: ['/nowhere'] }),
    }));
  }

  async stop(vraId: string): Promise<void> {
    const engine = this.#engines.get(vraId);
    this.#engines.delete(vraId);
    await engine?.close();
  }

  async close(): Promise<void> {
    for (const vraId of [...this.#engines.keys()]) await this.stop(vraId);
  }

  /** Of a VRA that runs. */
  engine(vraId: string): VraEngine | undefined {
    return this.#engines.get(vraId);
  }

  recoveryCount(vraId: string): number {
    return this.engine(vraId)?.status().recoveries.filter(({ state }) => state !== 'broken').length ?? 0;
  }

  listedBy(vraId: string): number[] {
    return this.engine(vraId)?.listCheckpoints(IDENTITY).held.map(({ checkpointId }) => checkpointId) ?? [];
  }

  /** All are stopped. Whether the same sender goes on where it was: a checkpoint that it adds is listed only when no sync is needed. */
  async goesOn(): Promise<{ readonly isListed: boolean; readonly isAllThere: boolean }> {
    const mirror = await openDisk(this.folder);
    const bench = await openBench(this.folder, mirror);
    const { durableSeq } = bench;
    await bench.begin();
    await bench.durable(bench.sendCheckpoint(9));
    const found = { isListed: bench.journal.holds(9), isAllThere: durableSeq === bench.lastSeq - 2 };
    await bench.journal.close();
    await mirror.close();
    return found;
  }
}
