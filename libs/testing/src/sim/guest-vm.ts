import { SECTOR_BYTES, viewOf } from '@tidemark/base';
import type { GuestWrite } from '@tidemark/splitter';

/** A write as the whole world knows it. */
export interface KnownWrite {
  readonly id: number;
  readonly vmId: string;
  /** Completed before this one was issued. */
  readonly after: readonly number[];
  readonly write: GuestWrite;
  /** Place in its VM's order of capture, from 1; undefined: not captured. */
  capturedIndex: number | undefined;
  capturedAtMs: number;
  completedAtMs: number;
}

export interface MarkerRecord {
  readonly atIndex: number;
  readonly images: readonly Uint8Array[];
  readonly atMs: number;
}

/** A protected VM, with all that the checkers know about it. */
export class GuestVm {
  /** The protected volumes. They outlive the VRA's process. */
  readonly disks: Uint8Array[];
  /** The volumes after the captured writes in the order of capture: what a prefix means. */
  captured: Uint8Array[];
  capturedCount = 0;
  /** By checkpoint, at the moment its marker was put into the stream. */
  readonly markers = new Map<number, MarkerRecord>();

  constructor(
    readonly vmId: string,
    readonly number: number,
    readonly volumeBytes: readonly number[],
  ) {
    this.disks = volumeBytes.map((bytes) => new Uint8Array(bytes));
    this.captured = volumeBytes.map((bytes) => new Uint8Array(bytes));
  }

  payload(writeId: number, sectors: number): Uint8Array {
    const bytes = new Uint8Array(sectors * SECTOR_BYTES).fill(writeId & 0xff);
    const view = viewOf(bytes);
    for (let sector = 0; sector < sectors; sector += 1) {
      view.setUint32(sector * SECTOR_BYTES, writeId, true);
      view.setUint32(sector * SECTOR_BYTES + 4, sector, true);
      view.setUint32(sector * SECTOR_BYTES + 8, this.number, true);
    }
    return bytes;
  }

  /** Which write the sector holds; 0: none. */
  writeIdAt(volume: number, offset: number): number {
    const disk = this.disks[volume];
    return disk === undefined ? 0 : viewOf(disk).getUint32(offset - (offset % SECTOR_BYTES), true);
  }

  putOnDisk(write: GuestWrite, bytes = write.length): void {
    put(this.disks[write.volume], write, bytes);
  }

  wasCaptured(known: KnownWrite, nowMs: number): void {
    this.capturedCount += 1;
    known.capturedIndex = this.capturedCount;
    known.capturedAtMs = nowMs;
    put(this.captured[known.write.volume], known.write, known.write.length);
  }

  /** On the disk and never captured, because the capturing process died: the next sync carries it, behind every marker of before. */
  becomesBase(known: KnownWrite): void {
    this.capturedCount += 1;
    known.capturedIndex = this.capturedCount;
  }

  /** A local write failed: what is on the disk now is what counts. */
  captureFailed({ volume, offset, length }: GuestWrite): void {
    const now = this.disks[volume]?.subarray(offset, offset + length);
    if (now !== undefined) this.captured[volume]?.set(now, offset);
  }

  /** The capturing process is gone: a new one starts from the disk. */
  captureRestarts(): void {
    this.captured = this.disks.map((disk) => disk.slice());
  }

  markerPlaced(checkpointId: number, atMs: number): void {
    this.markers.set(checkpointId, { atIndex: this.capturedCount, images: this.captured.map((image) => image.slice()), atMs });
  }
}

function put(image: Uint8Array | undefined, { offset, length, payload }: GuestWrite, bytes: number): void {
  if (payload === undefined) image?.fill(0, offset, offset + Math.min(length, bytes));
  else image?.set(payload.subarray(0, bytes), offset);
}
