import { Body, Controller, Delete, Get, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import { ApiBasicAuth, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { CallerApi, PasswordChangeApi, SessionAddApi, SessionApi } from '@tidemark/contracts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Caller, originOf, setCaller } from '../access/caller.js';
import { Needs } from '../access/needs.js';
import { PERMISSIONS } from '../access/permissions.js';
import { notFound } from '../errors.js';
import { Action } from '../http/rest.js';
import { grantView } from '../user/grant.view.js';
import { UserService } from '../user/user.service.js';
import { Public, SESSION_HEADER, SessionCaller } from './session.guard.js';
import { SessionService } from './session.service.js';

@ApiTags('session')
@Controller('session')
export class SessionController {
  constructor(
    private readonly sessions: SessionService,
    private readonly users: UserService,
  ) {}

  @Public()
  @Post('add')
  @HttpCode(200)
  @ApiBasicAuth()
  async add(@Body() _body: SessionAddApi, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { token, caller } = await this.sessions.logIn(request.headers.authorization, originOf(request));
    setCaller(request, caller);
    await reply.status(200).header(SESSION_HEADER, token).send();
  }

  @Get()
  @Needs('ownAccount')
  @ApiOkResponse({ type: CallerApi })
  whoAmI(@SessionCaller() caller: Caller): CallerApi {
    return {
      UserName: caller.name, Method: caller.method, Roles: caller.rights.grants.map(grantView), Permissions: PERMISSIONS.filter((permission) => caller.rights.canSomewhere(permission)),
      IsPasswordToBeChanged: caller.isPasswordToBeChanged, Expires: caller.expiresAtMs === null ? null : new Date(caller.expiresAtMs).toISOString(),
    };
  }

  /** Logs out. */
  @Delete()
  @HttpCode(200)
  @Needs('ownAccount')
  async remove(@SessionCaller() caller: Caller, @Res() reply: FastifyReply): Promise<void> {
    if (caller.sessionId !== null) await this.sessions.end(caller.sessionId);
    await reply.status(200).send();
  }

  /** The caller's own; its other sessions end. */
  @Action('password')
  @Needs('ownAccount')
  async changePassword(@Body() body: PasswordChangeApi, @SessionCaller() caller: Caller, @Req() request: FastifyRequest): Promise<void> {
    await this.users.changeOwnPassword({ caller, oldPassword: body.OldPassword, newPassword: body.NewPassword, origin: originOf(request) });
  }

  /** The caller's own; everybody's for who manages users. */
  @Get('list')
  @Needs('ownAccount')
  @ApiOkResponse({ type: [SessionApi] })
  async list(@SessionCaller() caller: Caller): Promise<SessionApi[]> {
    const isAll = caller.rights.can('manageUsers');
    return (await this.sessions.list()).filter((session) => isAll || isOwn(session, caller)).map((session) => ({
      SessionIdentifier: session.sessionId, UserName: session.userName, Method: session.userId === null ? 'Oidc' : 'Password', Address: session.address, Client: session.client,
      Created: new Date(session.createdAtMs).toISOString(), LastUsed: new Date(session.usedAtMs).toISOString(), Expires: new Date(session.expiresAtMs).toISOString(),
      IsOwn: session.sessionId === caller.sessionId,
    }));
  }

  @Delete(':session')
  @HttpCode(200)
  @Needs('ownAccount')
  async end(@Param('session') sessionId: string, @SessionCaller() caller: Caller): Promise<void> {
    const found = (await this.sessions.list()).find((session) => session.sessionId === sessionId.toLowerCase());
    if (!found || (!isOwn(found, caller) && !caller.rights.can('manageUsers'))) throw notFound('session', sessionId);
    await this.sessions.end(found.sessionId);
  }
}

const isOwn = (session: { readonly userId: string | null; readonly subject: string | null }, caller: Caller): boolean =>
  caller.userId === null ? session.subject === caller.subject && caller.subject !== null : session.userId === caller.userId;
