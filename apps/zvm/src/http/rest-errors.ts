import { ArgumentsHost, Catch, type ExceptionFilter, HttpException, Logger } from '@nestjs/common';
import { ControlError } from '@tidemark/nest';
import { HypervisorError } from '@tidemark/hypervisor';
import { TrustError } from '@tidemark/trust';
import type { FastifyReply } from 'fastify';
import { messageOf, TooManyError, ZvmError, type ZvmErrorCode } from '../errors.js';

const STATUS: Record<ZvmErrorCode, number> = {
  ZVM_INVALID: 400,
  ZVM_UNAUTHORIZED: 401,
  ZVM_FORBIDDEN: 403,
  ZVM_TOO_MANY: 429,
  ZVM_NOT_FOUND: 404,
  ZVM_CONFLICT: 409,
  ZVM_DATABASE_DOWN: 503,
  ZVM_BROKER_DOWN: 503,
  ZVM_HYPERVISOR_DOWN: 503,
  ZVM_IDENTITY_DOWN: 503,
  ZVM_PEER_DOWN: 503,
  ZVM_VRA_DOWN: 503,
  ZVM_VBA_DOWN: 503,
  ZVM_BAD_ANSWER: 502,
};

export interface RestError {
  readonly status: number;
  readonly message: string;
  /** True: a bug of ours, to be logged with its stack. */
  readonly isInternal: boolean;
}

/** Every failure of a REST call as status and the text of `Message`. */
export function restErrorOf(error: unknown): RestError {
  if (error instanceof ZvmError) return { status: STATUS[error.code], message: error.message, isInternal: false };
  if (error instanceof HttpException) return { status: error.getStatus(), message: httpMessage(error), isInternal: false };
  if (error instanceof HypervisorError) return { status: hypervisorStatus(error), message: error.message, isInternal: false };
  if (error instanceof ControlError) return { status: error.isRetryable ? 503 : 409, message: error.message, isInternal: false };
  if (error instanceof TrustError) return { status: error.code === 'TRUST_FILE' ? 500 : 400, message: error.message, isInternal: false };
  const status = fastifyStatus(error);
  if (status !== undefined) return { status, message: messageOf(error), isInternal: false };
  return { status: 500, message: `internal error: ${messageOf(error)}`, isInternal: true };
}

function httpMessage(error: HttpException): string {
  const body = error.getResponse();
  if (typeof body === 'object' && 'message' in body) {
    const text: unknown = body.message;
    return Array.isArray(text) ? text.join('; ') : String(text);
  }
  return error.message;
}

function hypervisorStatus(error: HypervisorError): number {
  switch (error.code) {
    case 'HYPERVISOR_UNREACHABLE': case 'HYPERVISOR_REFUSED': return 503;
    case 'HYPERVISOR_NOT_FOUND': return 404;
    case 'HYPERVISOR_INVALID': return 400;
    default: return 409;
  }
}

/** Errors of the HTTP layer itself (body too large, malformed URL) carry their status. */
function fastifyStatus(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined;
  const { statusCode } = error;
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500 ? statusCode : undefined;
}

@Catch()
export class RestErrorFilter implements ExceptionFilter {
  readonly #log = new Logger('rest');

  catch(error: unknown, host: ArgumentsHost): void {
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const { status, message, isInternal } = restErrorOf(error);
    if (isInternal) this.#log.error(message, error instanceof Error ? error.stack : undefined);
    if (error instanceof TooManyError) void reply.header('retry-after', String(Math.max(1, Math.ceil(error.retryAfterMs / 1000))));
    void reply.status(status).header('content-type', 'application/json; charset=utf-8').send(JSON.stringify({ Message: message }));
  }
}
