import { CanActivate, ExecutionContext, Injectable, createParamDecorator } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { type Caller as CallerValue, callerOf, setCaller } from '../access/caller.js';
import { IS_PUBLIC, NEED, type Need, NEED_OF_REQUEST, Public, type Reach } from '../access/needs.js';
import type { Permission } from '../access/permissions.js';
import { forbidden, ZvmError } from '../errors.js';
import { CallRate } from '../http/call-rate.js';
import { TokenService, TOKEN_PREFIX } from '../token/token.service.js';
import { SessionService } from './session.service.js';

export { Public };
export const SESSION_HEADER = 'x-zerto-session';

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Nobody reaches a handler unknown, and nobody without the permission that the handler declares. */
@Injectable()
export class SessionGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly sessions: SessionService,
    private readonly tokens: TokenService,
    private readonly rate: CallRate,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const targets = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean | undefined>(IS_PUBLIC, targets) === true) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const caller = await this.#authenticate(request);
    setCaller(request, caller);
    this.rate.count(caller.sessionId ?? caller.tokenId ?? caller.name);
    const need = this.#needOf(context, request.method);
    if (need === undefined) throw forbidden(`no permission is declared for ${request.method} ${request.url}: nobody may call it (this is a mistake in the ZVM)`);
    NEED_OF_REQUEST.set(request.raw, need);
    assertAllowed(caller, need, (request.params as Record<string, string | undefined>)['vpg']);
    return true;
  }

  /** What a class declares holds for its reading handlers only: a change names its permission itself. */
  #needOf(context: ExecutionContext, method: string): Need | undefined {
    const own = this.reflector.get<Need | undefined>(NEED, context.getHandler());
    if (own !== undefined || !READING.has(method)) return own;
    return this.reflector.get<Need | undefined>(NEED, context.getClass()) ?? { permission: 'view', reach: null };
  }

  async #authenticate(request: FastifyRequest): Promise<CallerValue> {
    const session = tokenOf(request);
    if (session !== undefined && session !== '') return await this.sessions.callerOf(session);
    const bearer = /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (bearer?.startsWith(TOKEN_PREFIX)) return await this.tokens.callerOf(bearer);
    throw new ZvmError('ZVM_UNAUTHORIZED', 'no session: log in with POST /v1/session/add and send its x-zerto-session header, or send an API token as Authorization: Bearer');
  }
}

/** @throws ZvmError ZVM_FORBIDDEN */
function assertAllowed(caller: CallerValue, { permission, reach }: Need, vpgId: string | undefined): void {
  if (caller.isPasswordToBeChanged && permission !== 'ownAccount') {
    throw forbidden(`the password of '${caller.name}' must be changed first: tidemark user password, or POST /v1/session/password`);
  }
  const where = reach ?? (vpgId === undefined ? defaultReach(permission) : 'vpg');
  if (!isAllowed(caller, permission, where, vpgId)) throw forbidden(refusal(caller, permission, where, vpgId));
}

/** What concerns the caller alone has no place. */
const defaultReach = (permission: Permission): Reach => (permission === 'ownAccount' || permission === 'makeTokens' ? 'shown' : 'site');

function isAllowed({ rights }: CallerValue, permission: Permission, reach: Reach, vpgId: string | undefined): boolean {
  switch (reach) {
    case 'vpg': return vpgId !== undefined && rights.canOn(permission, vpgId);
    case 'site': return rights.can(permission);
    case 'shown': return rights.canSomewhere(permission);
  }
}

function refusal(caller: CallerValue, permission: Permission, reach: Reach, vpgId: string | undefined): string {
  const where = reach === 'vpg' ? ` on VPG ${vpgId ?? ''}` : reach === 'site' && caller.rights.canSomewhere(permission) ? ' on the whole site, only on some VPGs' : '';
  return `${caller.method === 'Token' ? 'this API token of ' : ''}'${caller.name}' does not have the permission ${permission}${where}`;
}

export function tokenOf(request: FastifyRequest): string | undefined {
  const value = request.headers[SESSION_HEADER];
  return Array.isArray(value) ? value[0] : value;
}

function callerIn(context: ExecutionContext): CallerValue {
  const caller = callerOf(context.switchToHttp().getRequest<FastifyRequest>());
  if (!caller) throw new ZvmError('ZVM_UNAUTHORIZED', 'no session');
  return caller;
}

/** Who makes the call. */
export const SessionCaller = createParamDecorator((_: unknown, context: ExecutionContext): CallerValue => callerIn(context));

/** The caller's name. */
export const SessionUser = createParamDecorator((_: unknown, context: ExecutionContext): string => callerIn(context).name);
