import { TidemarkError } from '@tidemark/base';

export type ZvmErrorCode =
  | 'ZVM_INVALID' // the request cannot be meant: 400
  | 'ZVM_UNAUTHORIZED' // no session, or an ended one: 401
  | 'ZVM_FORBIDDEN' // known, and not allowed: 403
  | 'ZVM_TOO_MANY' // too many calls or failed log-ins: 429
  | 'ZVM_NOT_FOUND' // 404
  | 'ZVM_CONFLICT' // not in this state: 409
  | 'ZVM_DATABASE_DOWN' // 503
  | 'ZVM_BROKER_DOWN' // 503
  | 'ZVM_HYPERVISOR_DOWN' // 503
  | 'ZVM_IDENTITY_DOWN' // 503
  | 'ZVM_PEER_DOWN' // 503
  | 'ZVM_VRA_DOWN' // 503
  | 'ZVM_VBA_DOWN' // 503
  | 'ZVM_BAD_ANSWER'; // a VRA, VBA or paired site answers what is no answer to the question: 502

const RETRYABLE: ReadonlySet<ZvmErrorCode> = new Set([
  'ZVM_DATABASE_DOWN', 'ZVM_BROKER_DOWN', 'ZVM_HYPERVISOR_DOWN', 'ZVM_IDENTITY_DOWN', 'ZVM_PEER_DOWN', 'ZVM_VRA_DOWN', 'ZVM_VBA_DOWN',
]);

/** What a ZVM refuses or cannot do now; its message is what REST clients read in `Message`. */
export class ZvmError extends TidemarkError<ZvmErrorCode> {
  get isRetryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

/** Come again later. */
export class TooManyError extends ZvmError {
  constructor(message: string, readonly retryAfterMs: number) {
    super('ZVM_TOO_MANY', message);
  }
}

export const invalid = (message: string): ZvmError => new ZvmError('ZVM_INVALID', message);
export const conflict = (message: string): ZvmError => new ZvmError('ZVM_CONFLICT', message);
export const forbidden = (message: string): ZvmError => new ZvmError('ZVM_FORBIDDEN', message);
/** Not to be asked again at once: who answers so is of another version, or not who it should be. */
export const badAnswer = (who: string, topic: string, cause: Error): ZvmError =>
  new ZvmError('ZVM_BAD_ANSWER', `${who} answers ${topic} with what is no answer to it. It is of another version than this ZVM, or somebody else speaks in its name`, { cause });
export const notFound = (what: string, id: string): ZvmError => new ZvmError('ZVM_NOT_FOUND', `${what} ${id} does not exist`);

export function messageOf(error: unknown): string {
  const text: unknown = typeof error === 'object' && error !== null && 'message' in error ? error.message : undefined;
  return typeof text === 'string' ? text : String(error);
}
