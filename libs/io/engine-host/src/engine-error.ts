import { TidemarkError } from '@tidemark/base';

export type EngineErrorCode =
  | 'VRA_STATE_FILE' // a document of the VRA's own is damaged on disk
  | 'VRA_STATE_VERSION' // a document of the VRA's own was written by another version of the program
  | 'VRA_UNKNOWN_PROTECTION'
  | 'VRA_UNKNOWN_VIEW'
  | 'VRA_UNKNOWN_CHECKPOINT'
  | 'VRA_CONFLICT'
  | 'VRA_EPOCH'
  | 'VRA_DISK'
  | 'VRA_NOT_SETTLED' // a VM has written, or may have, behind the checkpoint that was to be its last
  | 'VRA_CLOSED'
  | 'VRA_IDENTITY' // its certificate is another component's
  | 'VRA_PRESEED'
  | 'VRA_MEMORY' // streams of one more VM would starve others
  | 'VRA_PATH' // a file or folder outside the host's datastores
  | 'VRA_MOVED' // journal and mirrors belong to another VRA
  | 'VRA_NOTHING_THERE' // a journal was to be taken over and is not to be seen here
  | 'VRA_NOT_RELEASED' // the VRA that journal and mirrors belong to has not let go of them
  | 'VRA_STILL_WRITTEN' // somebody writes journal or mirrors that were taken over from a host said to be down
  | 'CHECKPOINT_FREEZE' // a guest could not be frozen, so there is no application-consistent checkpoint
  | 'CHECKPOINT_VOID'
  | 'CHECKPOINT_NOT_LEADER';

/** A command that this VRA cannot carry out. */
export class EngineError extends TidemarkError<EngineErrorCode> {
  get isRetryable(): boolean {
    return this.code === 'CHECKPOINT_VOID' || this.code === 'CHECKPOINT_NOT_LEADER';
  }
}
