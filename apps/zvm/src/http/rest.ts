import { type CallHandler, type ExecutionContext, HttpCode, Injectable, type NestInterceptor, Post, ValidationPipe, applyDecorators } from '@nestjs/common';
import { TooDeepError, toPascalKeys } from '@tidemark/contracts';
import { describeErrors } from '@tidemark/nest';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { map, type Observable } from 'rxjs';
import { invalid } from '../errors.js';

/** A POST that answers 200, as every action of this API does. */
export const Action = (path = '') => applyDecorators(Post(path), HttpCode(200));

/** Answers are JSON, a bare string (task id, draft id) in quotes; nothing to say is an empty body. */
@Injectable()
export class JsonReplies implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const reply = context.switchToHttp().getResponse<FastifyReply>();
    return next.handle().pipe(map((value: unknown) => {
      if (value === undefined || value === null) return undefined;
      reply.header('content-type', 'application/json; charset=utf-8');
      return JSON.stringify(value);
    }));
  }
}

/** Bodies are checked against their DTO; properties that it does not know are ignored. */
export function bodyValidation(): ValidationPipe {
  return new ValidationPipe({ transform: true, whitelist: true, stopAtFirstError: true, exceptionFactory: (errors) => invalid(describeErrors(errors)) });
}

/**
 * Every body is JSON whatever its Content-Type says (curl sends a form type by itself), an empty one is `{}`. Keys may be PascalCase or
 * camelCase, as the vendor's documents show both. Anything but an object, and text that the database could not hold, is refused here,
 * before a controller could meet it.
 */
export function parseBodies(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    const text = typeof body === 'string' ? body : body.toString('utf8');
    try {
      done(null, text.trim() === '' ? {} : objectOf(text));
    } catch (error) {
      done(error as Error);
    }
  });
  fastify.addHook('preValidation', (request, _reply, done) => {
    request.body ??= {};
    done();
  });
}

function objectOf(text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    // V8 quotes the text around the fault, which may be a password: answers are kept by the audit.
    throw badBody(`the body is not JSON: ${(cause as Error).message.replace(/, (\.\.\.)?".*$/s, '')}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badBody('the body must be a JSON object');
  try {
    value = toPascalKeys(value);
  } catch (error) {
    if (error instanceof TooDeepError) throw badBody(error.message);
    throw error;
  }
  if (!isStorable(value)) throw badBody('the body holds text that is no Unicode text: a null character or half a surrogate pair');
  return value as object;
}

const badBody = (message: string): Error => Object.assign(new Error(message), { statusCode: 400 });

/** PostgreSQL's jsonb refuses both; recursion is bounded by the depth that {@link toPascalKeys} allows. */
function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0');
  if (Array.isArray(value)) return value.every(isStorable);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, inner]) => isStorable(key) && isStorable(inner));
}
