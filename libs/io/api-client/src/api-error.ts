import { TidemarkError } from '@tidemark/base';

export type ApiErrorCode =
  | 'API_UNREACHABLE' // no connection, or it broke before the answer was whole
  | 'API_UNTRUSTED' // the server's certificate is not the one that was asked for
  | 'API_TIMEOUT' // no answer in time
  | 'API_UNAUTHORIZED' // wrong user or password, or the session ended: 401
  | 'API_REFUSED' // the server says why: any other 4xx
  | 'API_UNAVAILABLE' // something that the server needs does not answer: 503
  | 'API_FAILED' // any other 5xx
  | 'API_PROTOCOL' // the answer is none of this API
  | 'API_TASK_TIMEOUT' // the task has not ended in time; it goes on
  | 'API_TASK_FAILED'; // the task ended, not well

const RETRYABLE: ReadonlySet<ApiErrorCode> = new Set(['API_UNREACHABLE', 'API_TIMEOUT', 'API_UNAVAILABLE']);

/** A call that did not work; the message is the server's `Message` where there is one. */
export class ApiError extends TidemarkError<ApiErrorCode> {
  readonly status: number | null;

  constructor(code: ApiErrorCode, message: string, options: { status?: number; cause?: unknown } = {}) {
    super(code, message, options.cause === undefined ? {} : { cause: options.cause });
    this.status = options.status ?? null;
  }

  get isRetryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

export function codeOfStatus(status: number): ApiErrorCode {
  if (status === 401) return 'API_UNAUTHORIZED';
  if (status === 503) return 'API_UNAVAILABLE';
  return status >= 500 ? 'API_FAILED' : 'API_REFUSED';
}
