import { Body, Controller, Get, HttpCode, Inject, Post, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { OidcBegunApi, OidcBeginApi, OidcFinishApi, OidcInfoApi } from '@tidemark/contracts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { originOf, setCaller } from '../access/caller.js';
import { Public } from '../access/needs.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Action } from '../http/rest.js';
import { SESSION_HEADER } from '../session/session.guard.js';
import { OidcService } from './oidc.service.js';

@ApiTags('session')
@Controller('session/oidc')
export class OidcController {
  constructor(
    private readonly oidc: OidcService,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** For log-in pages. */
  @Public()
  @Get()
  @ApiOkResponse({ type: OidcInfoApi })
  info(): OidcInfoApi {
    return { IsEnabled: this.config.oidc !== null, Issuer: this.config.oidc?.issuer ?? null };
  }

  @Public()
  @Action('begin')
  @ApiOkResponse({ type: OidcBegunApi })
  async begin(@Body() { RedirectUri }: OidcBeginApi, @Req() request: FastifyRequest): Promise<OidcBegunApi> {
    const { loginId, url } = await this.oidc.begin(RedirectUri, originOf(request));
    return { LoginIdentifier: loginId, AuthorizationUrl: url };
  }

  /** Answers the session in the header x-zerto-session. */
  @Public()
  @Post('finish')
  @HttpCode(200)
  async finish(@Body() { LoginIdentifier, CallbackUrl }: OidcFinishApi, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { token, caller } = await this.oidc.finish(LoginIdentifier, CallbackUrl, originOf(request));
    setCaller(request, caller);
    await reply.status(200).header(SESSION_HEADER, token).send();
  }
}
