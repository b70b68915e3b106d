import { Body, Controller, Delete, Get, HttpCode, Param } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { CreatedTokenApi, TokenApi, TokenCreateApi } from '@tidemark/contracts';
import type { Caller } from '../access/caller.js';
import { Needs } from '../access/needs.js';
import { type Permission, PERMISSIONS } from '../access/permissions.js';
import { invalid, notFound } from '../errors.js';
import { Action } from '../http/rest.js';
import { SessionCaller } from '../session/session.guard.js';
import { TokenService, type TokenRecord } from './token.service.js';

/** API tokens: everybody's own, and all of them for who manages users. */
@ApiTags('tokens')
@Controller('tokens')
export class TokensController {
  constructor(private readonly tokens: TokenService) {}

  @Get()
  @Needs('ownAccount')
  @ApiOkResponse({ type: [TokenApi] })
  async list(@SessionCaller() caller: Caller): Promise<TokenApi[]> {
    const isAll = caller.rights.can('manageUsers');
    if (!isAll && caller.userId === null) return [];
    return (await this.tokens.list(isAll ? null : caller.userId)).map(view);
  }

  @Action()
  @Needs('makeTokens')
  @ApiOkResponse({ type: CreatedTokenApi })
  async create(@Body() body: TokenCreateApi, @SessionCaller() caller: Caller): Promise<CreatedTokenApi> {
    const expiresAtMs = Date.parse(body.Expires);
    if (Number.isNaN(expiresAtMs)) throw invalid(`Expires: '${body.Expires}' is no time; an example: 2027-01-31T00:00:00Z`);
    const { token, record } = await this.tokens.create({ name: body.Name, scopes: body.Scopes.map(scopeOf), vpgIds: body.VpgIdentifiers ?? null, expiresAtMs }, caller);
    return { ...view(record), Token: token };
  }

  @Delete(':token')
  @HttpCode(200)
  @Needs('ownAccount')
  async revoke(@Param('token') tokenId: string, @SessionCaller() caller: Caller): Promise<void> {
    const found = await this.tokens.get(tokenId);
    // Of others' tokens nobody learns whether they are there.
    if (found.userId !== caller.userId && !caller.rights.can('manageUsers')) throw notFound('API token', tokenId);
    await this.tokens.revoke(found.tokenId);
  }
}

function scopeOf(text: string): Permission {
  const found = PERMISSIONS.find((permission) => permission.toLowerCase() === text.toLowerCase());
  if (!found) throw invalid(`Scopes: '${text}' is not one of ${PERMISSIONS.join(', ')}`);
  return found;
}

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

function view(token: TokenRecord): TokenApi {
  return {
    TokenIdentifier: token.tokenId, Name: token.name, UserName: token.userName, Scopes: [...token.scopes], VpgIdentifiers: token.vpgIds === null ? null : [...token.vpgIds],
    Created: new Date(token.createdAtMs).toISOString(), Expires: new Date(token.expiresAtMs).toISOString(), LastUsed: iso(token.usedAtMs),
  };
}
