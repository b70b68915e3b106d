import type { GuestWrite } from '@tidemark/splitter';
import type { AttachedDisk, ProtectionSpec } from './types.js';

/** The disks of a VM by slot: those of one that runs, or of one that is about to be attached. */
export interface DiskSlots {
  slotOf(diskId: string): number;
  disk(slot: number): AttachedDisk | undefined;
}

/** The slots that the disks of a VM will have when it is attached. */
export const slotsToBe = (disks: readonly AttachedDisk[]): DiskSlots => ({
  slotOf: (diskId) => disks.findIndex((disk) => disk.diskId === diskId),
  disk: (slot) => disks[slot],
});

/**
 * The volumes of a stream on the disks of its VM. They are bound once: a disk that is removed, and another one that gets its id later, change
 * nothing here; what is written to disks that are not in the stream, or beyond what the recovery side knows of one that grew, is passed over until
 * the protection itself is changed (and is dirty then).
 */
export class VolumeMap {
  readonly sizesBytes: readonly number[];
  readonly #slots: readonly number[];
  /** Volume of each slot. */
  readonly #volumes = new Map<number, number>();
  /** Slot n is volume n, up to this size: then writes pass as they are. */
  readonly #plainBytes: readonly number[];

  constructor({ diskIds, volumeBytes }: ProtectionSpec, guest: DiskSlots) {
    this.#slots = diskIds.map((diskId) => (diskId === '' ? -1 : guest.slotOf(diskId)));
    this.sizesBytes = diskIds.map((_, volume) => volumeBytes?.[volume] ?? guest.disk(this.slotOf(volume))?.sizeBytes ?? 0);
    for (const [volume, slot] of this.#slots.entries()) if (slot >= 0) this.#volumes.set(slot, volume);
    this.#plainBytes = this.sizesBytes.map((sizeBytes, volume) => (this.#slots[volume] === volume ? sizeBytes : 0));
  }

  /** True if `later` is this map after volumes were added, grown or removed: no volume has become another disk. */
  canBecome(later: VolumeMap): boolean {
    return this.sizesBytes.every((sizeBytes, volume) => {
      const next = later.sizesBytes[volume] ?? -1;
      const [slot, nextSlot] = [this.slotOf(volume), later.slotOf(volume)];
      return next === 0 || (sizeBytes > 0 && next >= sizeBytes && (nextSlot === slot || nextSlot < 0));
    });
  }

  /** -1: none. */
  slotOf(volume: number): number {
    return this.#slots[volume] ?? -1;
  }

  isSame(other: VolumeMap): boolean {
    return JSON.stringify([this.#slots, this.sizesBytes]) === JSON.stringify([other.#slots, other.sizesBytes]);
  }

  /** Undefined: the slot is none of the stream's concern. */
  volumeOf(slot: number): number | undefined {
    return this.#volumes.get(slot);
  }

  /** As the stream has it; undefined: it is none of its concern. The plain case makes no object. */
  mapped(write: GuestWrite): GuestWrite | undefined {
    if (write.offset + write.length <= (this.#plainBytes[write.volume] ?? 0)) return write;
    const volume = this.#volumes.get(write.volume);
    const length = volume === undefined ? 0 : Math.min(write.length, (this.sizesBytes[volume] ?? 0) - write.offset);
    if (volume === undefined || length <= 0) return undefined;
    return { ...write, volume, length, payload: write.payload?.subarray(0, length) };
  }
}
