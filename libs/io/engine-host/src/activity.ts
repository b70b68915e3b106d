/** The activity log, for the simulation: it keeps one with the product's own code, on a disk of its own. */
export type { ActivityFiles, MarksHandle, TrustFile } from './activity-files.js';
export { ActivityLogs, type GatedGuest } from './activity-logs.js';
export type { ActivityLogFile } from './activity-log-file.js';
export { StreamActivity } from './stream-activity.js';
export { VolumeMap } from './volume-map.js';
export type { AttachedVmSpec, ProtectionSpec } from './types.js';
export type { WriteGate } from './guest-vm.js';
