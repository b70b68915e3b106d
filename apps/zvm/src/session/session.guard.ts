import { CanActivate, ExecutionContext, Injectable, SetMetadata, createParamDecorator } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { SessionService } from './session.service.js';

const IS_PUBLIC = 'isPublic';
export const SESSION_HEADER = 'x-zerto-session';

/** A route that needs no session. */
export const Public = () => SetMetadata(IS_PUBLIC, true);

const users = new WeakMap<FastifyRequest['raw'], string>();

@Injectable()
export class SessionGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly sessions: SessionService,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (this.reflector.getAllAndOverride<boolean | undefined>(IS_PUBLIC, [context.getHandler(), context.getClass()]) === true) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    users.set(request.raw, await this.sessions.userOf(tokenOf(request)));
    return true;
  }
}

export function tokenOf(request: FastifyRequest): string | undefined {
  const value = request.headers[SESSION_HEADER];
  return Array.isArray(value) ? value[0] : value;
}

/** The name of the session's user. */
export const SessionUser = createParamDecorator((_: unknown, context: ExecutionContext): string => {
  return users.get(context.switchToHttp().getRequest<FastifyRequest>().raw) ?? 'unknown';
});
