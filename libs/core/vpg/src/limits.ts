import { GiB } from '@tidemark/base';

/** Reference §2.5. */
export const VPG_LIMITS = {
  nameLengthMax: 80,
  historyHoursMin: 1,
  historyHoursMax: 720,
  rpoSecondsMin: 60,
  rpoSecondsMax: 864_200,
  /** A journal's hard limit in MB; one in percent may be smaller. */
  journalMbMin: 8192,
  checkpointSecondsMin: 1,
  checkpointSecondsMax: 3600,
  disksPerVmMax: 60,
  vpgsPerVmMax: 3,
  /** Free space that a datastore of recovery volumes and journals keeps: these bytes or this share of it, whichever is smaller. */
  guardBytesMax: 30 * GiB,
  guardShare: 0.15,
} as const;
