import { TidemarkError } from '@tidemark/base';

export type ControlErrorCode = 'CONTROL_TIMEOUT' | 'CONTROL_UNREACHABLE' | 'CONTROL_FORBIDDEN' | 'CONTROL_INVALID' | 'CONTROL_REFUSED';

/** A control request that was not answered, not understood or refused; `remoteCode` is the responder's own code. CONTROL_FORBIDDEN: the broker does not let this user ask that. */
export class ControlError extends TidemarkError<ControlErrorCode> {
  constructor(
    code: ControlErrorCode,
    message: string,
    readonly remoteCode: string | null = null,
    options?: { cause?: unknown },
  ) {
    super(code, message, options);
  }

  get isRetryable(): boolean {
    return this.code === 'CONTROL_TIMEOUT' || this.code === 'CONTROL_UNREACHABLE' || this.remoteCode === 'CONTROL_BUSY';
  }
}

/** Thrown by a handler: travels to the caller as code and message. Anything else becomes CONTROL_INTERNAL. */
export class ControlRefusal extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}
