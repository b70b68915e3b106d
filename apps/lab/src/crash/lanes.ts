import { MiB } from '@tidemark/base';
import { plannedLane, type PlannedLane } from '../guest/workload.js';

/** web01 runs on the first host of site a, db01 on the second: lanes 2 and 3 are chains over both hosts. */
export const CRASH_VMS = ['web01', 'db01'] as const;

export const CRASH_LANES: readonly PlannedLane[] = [
  plannedLane(1, [{ vm: 'db01', index: 0, startOffset: 0, sizeBytes: 8 * MiB }]),
  plannedLane(2, [{ vm: 'web01', index: 0, startOffset: 0, sizeBytes: 4 * MiB }, { vm: 'db01', index: 1, startOffset: 0, sizeBytes: 4 * MiB }]),
  plannedLane(3, [{ vm: 'db01', index: 0, startOffset: 16 * MiB, sizeBytes: 2 * MiB }, { vm: 'web01', index: 0, startOffset: 8 * MiB, sizeBytes: 16 * MiB }]),
];
