import { SECTOR_BYTES, viewOf } from '@tidemark/base';
import type { GuestWrite } from '@tidemark/splitter';
import type { DirtyBitmap } from '@tidemark/extent';
import { SimFile } from './disk.js';

/** What somebody knows to be completed: of each VM (by number, from 1), the highest place in its order of capture. */
export type Knowledge = readonly number[];

export const merged = (a: Knowledge, b: Knowledge): Knowledge =>
  Array.from({ length: Math.max(a.length, b.length) }, (_, index) => Math.max(a[index] ?? 0, b[index] ?? 0));

/** A write as the whole world knows it. */
export interface KnownWrite {
  readonly id: number;
  readonly vmId: string;
  /** Completed before this one was issued. */
  readonly after: Knowledge;
  readonly write: GuestWrite;
  /** Place in its VM's order of capture, from 1; undefined: not captured. */
  capturedIndex: number | undefined;
  capturedAtMs: number;
}

export interface MarkerRecord {
  readonly placedAtMs: number;
  readonly atIndex: number;
  readonly images: readonly Uint8Array[];
  /** What the writes before the marker depend on. */
  readonly after: Knowledge;
  readonly captureCount: number;
}

/** A protected VM, with all that the checkers know about it. */
export class GuestVm {
  /** The protected volumes, on storage that every host of the site reaches. They outlive the VRA's process. */
  readonly disks: SimFile[];
  /** The volumes after the captured writes in the order of capture: what a prefix means. */
  captured: Uint8Array[];
  capturedCount = 0;
  /** What all captured writes together depend on. */
  #after: Knowledge = [];
  /** By VPG and checkpoint, at the moment its marker was put into the stream. */
  readonly markers = new Map<string, MarkerRecord>();
  /** The host that it runs on. */
  runsOn = '';
  /** The host whose VRA has the disks open, under their lock if they have one; empty: none has. */
  servedBy = '';
  /** Being moved to another host: issues nothing. */
  isPaused = false;
  /** Powered off: issues nothing, and its streams stand. */
  isShutDown = false;
  /** Processes that have captured it so far. */
  captureCount = 0;
  /** Since the disks were the image that `basisId` names: marked before each write, as long as the capturing process lives. undefined: nobody knows. */
  changes: { readonly basisId: string; readonly bitmaps: readonly DirtyBitmap[] } | undefined;

  constructor(
    readonly vmId: string,
    readonly number: number,
    /** 0: removed. */
    public volumeBytes: readonly number[],
  ) {
    this.disks = volumeBytes.map((bytes) => new SimFile(bytes));
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
    const at = offset - (offset % SECTOR_BYTES);
    const bytes = this.disks[volume]?.read(at, at + 4);
    return bytes === undefined || bytes.byteLength < 4 ? 0 : viewOf(bytes).getUint32(0, true);
  }

  putOnDisk({ volume, offset, length, payload }: GuestWrite, bytes = length): void {
    const disk = this.disks[volume];
    if (payload === undefined) disk?.zero(offset, Math.min(length, bytes));
    else disk?.write(offset, payload.subarray(0, bytes));
  }

  wasCaptured(known: KnownWrite, nowMs: number): void {
    this.#number(known);
    known.capturedAtMs = nowMs;
    put(this.captured[known.write.volume], known.write);
  }

  /** On the disk and never captured, because the capturing process died: the next sync carries it, behind every marker of before. */
  becomesBase(known: KnownWrite): void {
    this.#number(known);
  }

  #number(known: KnownWrite): void {
    this.capturedCount += 1;
    known.capturedIndex = this.capturedCount;
    this.#after = merged(this.#after, known.after);
  }

  /** A local write failed: what is on the disk now is what counts. */
  captureFailed({ volume, offset, length }: GuestWrite): void {
    const now = this.disks[volume]?.read(offset, offset + length);
    if (now !== undefined) this.captured[volume]?.set(now, offset);
  }

  /** The hypervisor makes a disk longer: it reads as zeroes there, and the guest may write at once. */
  grow(volume: number, bytes: number): void {
    this.disks[volume]?.grow(bytes);
    const longer = new Uint8Array(bytes);
    longer.set(this.captured[volume] ?? new Uint8Array());
    this.captured[volume] = longer;
    this.volumeBytes = this.volumeBytes.map((before, index) => (index === volume ? bytes : before));
  }

  /** One more disk, with what somebody had on it. */
  add(file: SimFile): void {
    this.disks.push(file);
    this.captured.push(file.copy());
    this.volumeBytes = [...this.volumeBytes, file.sizeBytes];
  }

  /** Nobody here reaches it any more; what it held is still what checkpoints of before show. */
  remove(volume: number): void {
    this.volumeBytes = this.volumeBytes.map((bytes, index) => (index === volume ? 0 : bytes));
  }

  /** What a sync reads; undefined: it cannot. */
  readDisk(volume: number, start: number, end: number): Uint8Array | undefined {
    return (this.volumeBytes[volume] ?? 0) > 0 ? this.disks[volume]?.readMedium(start, end)?.slice() : undefined;
  }

  /** The capturing process is gone, or the host's memory: a new one starts from the disk. */
  captureRestarts(): void {
    this.captureCount += 1;
    this.captured = this.disks.map((disk) => disk.copy());
  }

  /** `sizesBytes`: of the volumes in the stream that it was put into. */
  markerPlaced(key: string, placedAtMs: number, sizesBytes: readonly number[]): void {
    this.markers.set(key, { placedAtMs, atIndex: this.capturedCount, images: sizesBytes.map((bytes, volume) => this.captured[volume]?.slice(0, bytes) ?? new Uint8Array()), after: this.#after, captureCount: this.captureCount });
  }
}

export const markerKey = (vpgId: string, checkpointId: number): string => `${vpgId}:${checkpointId}`;

function put(image: Uint8Array | undefined, { offset, length, payload }: GuestWrite): void {
  if (payload === undefined) image?.fill(0, offset, offset + length);
  else image?.set(payload, offset);
}
