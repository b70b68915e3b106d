import { DirtyBitmap } from '@tidemark/extent';
import type { VolumeExtent } from '@tidemark/replication';

/** What a guest has changed since its disks were the image that `basisId` names: every write since is in the bitmaps, or there is no such object. */
export interface GuestChanges {
  readonly basisId: string;
  readonly bitmaps: ReadonlyMap<string, DirtyBitmap>;
}

/** By slot of the VM, in which the disks of these exports are. */
export class TrackedChanges {
  readonly #bitmaps: (DirtyBitmap | undefined)[];

  constructor(
    readonly basisId: string,
    exportNames: readonly string[],
    changes: GuestChanges,
  ) {
    this.#bitmaps = exportNames.map((name) => changes.bitmaps.get(name));
  }

  /** Before the write is begun: one that fails has changed who knows what. */
  mark(slot: number, offset: number, length: number): void {
    this.#bitmaps[slot]?.mark(offset, offset + length);
  }

  /** Of a stream's volumes; undefined when one of them is not tracked, or not as large as it was. */
  extents(sizesBytes: readonly number[], slotOf: (volume: number) => number): VolumeExtent[] | undefined {
    const extents: VolumeExtent[] = [];
    for (const [volume, sizeBytes] of sizesBytes.entries()) {
      if (sizeBytes === 0) continue;
      const bitmap = this.#bitmaps[slotOf(volume)];
      if (bitmap?.sizeBytes !== sizeBytes) return undefined;
      for (let run = bitmap.nextRun(0); run !== undefined; run = bitmap.nextRun(run.end)) extents.push({ volume, start: run.start, end: run.end });
    }
    return extents;
  }
}
