import { MiB } from '@tidemark/base';
import type { Limitation, VmSettings, VpgSettings } from './settings.js';

/** In bytes; null: unlimited. */
export interface VmLimits {
  readonly journalHardBytes: number | null;
  readonly journalWarningBytes: number | null;
  readonly scratchHardBytes: number | null;
  readonly scratchWarningBytes: number | null;
}

/** A VM's own limitation counts whole, else the VPG's does. Percent is of `volumeBytes`, the size of all its disks; it goes before MB, and 0 in both is unlimited. */
export function limitsOf(settings: VpgSettings, vm: VmSettings | undefined, volumeBytes: number): VmLimits {
  const journal = vm?.journal?.limitation ?? settings.journal.limitation;
  const scratch = vm?.scratch?.limitation ?? settings.scratch.limitation;
  return {
    journalHardBytes: hardOf(journal, volumeBytes), journalWarningBytes: warningOf(journal, volumeBytes),
    scratchHardBytes: hardOf(scratch, volumeBytes), scratchWarningBytes: warningOf(scratch, volumeBytes),
  };
}

const hardOf = (limitation: Limitation | null, volumeBytes: number): number | null =>
  bytesOf(limitation?.hardLimitInMB, limitation?.hardLimitInPercent, volumeBytes);

const warningOf = (limitation: Limitation | null, volumeBytes: number): number | null =>
  bytesOf(limitation?.warningThresholdInMB, limitation?.warningThresholdInPercent, volumeBytes);

function bytesOf(megabytes: number | null | undefined, percent: number | null | undefined, volumeBytes: number): number | null {
  if (percent) return Math.max(1, Math.floor((volumeBytes * percent) / 100));
  return megabytes ? megabytes * MiB : null;
}

const HOUR_MS = 3_600_000;
const MINUTE_CHECKPOINTS_HOURS = 24;

/** undefined: no thinning. */
export function thinningOf({ basic }: VpgSettings): { readonly keepAllMs: number; readonly hourlyAfterMs: number } | undefined {
  const hours = basic.keepAllCheckpointsForHours;
  if (!hours) return undefined;
  return { keepAllMs: hours * HOUR_MS, hourlyAfterMs: (basic.keepMinuteCheckpointsForHours ?? hours + MINUTE_CHECKPOINTS_HOURS) * HOUR_MS };
}
