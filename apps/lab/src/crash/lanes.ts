import { MiB } from '@tidemark/base';
import { plannedLane, type PlannedLane } from '../guest/workload.js';

/** A disk of db01 beside its two files, behind an NBD server. */
export const NBD_DISK = { vm: 'db01', index: 2, diskId: 'scsi:0:2', sizeBytes: 64 * MiB } as const;

/** web01 runs on the first host of site a, db01 on the second: lanes 2 and 3 are chains over both hosts. */
export const CRASH_VMS = ['web01', 'db01'] as const;

export const CRASH_LANES: readonly PlannedLane[] = [
  plannedLane(1, [{ vm: 'db01', index: 0, startOffset: 0, sizeBytes: 8 * MiB }]),
  plannedLane(2, [{ vm: 'web01', index: 0, startOffset: 0, sizeBytes: 4 * MiB }, { vm: NBD_DISK.vm, index: NBD_DISK.index, startOffset: 0, sizeBytes: 4 * MiB }]),
  plannedLane(3, [{ vm: 'db01', index: 0, startOffset: 16 * MiB, sizeBytes: 2 * MiB }, { vm: 'web01', index: 0, startOffset: 8 * MiB, sizeBytes: 16 * MiB }]),
];

export const isOnNbdDisk = (lane: number): boolean =>
  CRASH_LANES.some(({ plan, disks }) => plan.lane === lane && disks.some(({ vm, index }) => vm === NBD_DISK.vm && index === NBD_DISK.index));
