import { type CallHandler, type ExecutionContext, HttpCode, Injectable, type NestInterceptor, Post, ValidationPipe, applyDecorators } from '@nestjs/common';
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
  return new ValidationPipe({ transform: true, whitelist: true, exceptionFactory: (errors) => invalid(describeErrors(errors)) });
}

/**
 * Every body is JSON whatever its Content-Type says (curl sends a form type by itself), an empty one is `{}`. Anything but an object
 * is refused here, before a controller could meet it.
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
    throw Object.assign(new Error(`the body is not JSON: ${(cause as Error).message}`, { cause }), { statusCode: 400 });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw Object.assign(new Error('the body must be a JSON object'), { statusCode: 400 });
  }
  return value;
}
