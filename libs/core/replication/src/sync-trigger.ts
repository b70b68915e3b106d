/** Why a sync began, in the words that the console shows; a detail may follow behind a colon. */
export const SyncTrigger = {
  created: 'VPG Created',
  preseed: 'Preseeded Volumes',
  forceSync: 'Force Sync',
  /** The link could not carry what was written. */
  networkCongestion: 'Network Congestion',
  protectedStorageError: 'Protected Storage Error',
  /** Memory of the protecting VRA went to other protections. */
  protectedVraCongestion: 'Protected VRA Congestion',
  protectedVraRestarted: 'Protected VRA Restarted',
  recoveryStorageError: 'Recovery or Journal Storage Error',
  /** The recovering VRA took no more. */
  recoveryStorageCongestion: 'Recovery Storage Congestion',
  recoveryVraUnreachable: 'Recovery VRA Communication Problem',
  /** Another VRA captured it before. */
  vmMoved: 'VM Moved',
  vpgChanged: 'VPG Configuration Changed',
  reversed: 'Reverse Protection',
} as const;
export type SyncTrigger = (typeof SyncTrigger)[keyof typeof SyncTrigger];
