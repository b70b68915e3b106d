import { Body, Controller, Delete, HttpCode, Post, Req, Res } from '@nestjs/common';
import { ApiBasicAuth, ApiTags } from '@nestjs/swagger';
import { SessionAddApi } from '@tidemark/contracts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Public, SESSION_HEADER, tokenOf } from './session.guard.js';
import { SessionService } from './session.service.js';

@ApiTags('session')
@Controller('session')
export class SessionController {
  constructor(private readonly sessions: SessionService) {}

  @Public()
  @Post('add')
  @HttpCode(200)
  @ApiBasicAuth()
  async add(@Body() _body: SessionAddApi, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const token = await this.sessions.logIn(request.headers.authorization);
    await reply.status(200).header(SESSION_HEADER, token).send();
  }

  @Delete()
  @HttpCode(200)
  async remove(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const token = tokenOf(request);
    if (token !== undefined) await this.sessions.logOut(token);
    await reply.status(200).send();
  }
}
