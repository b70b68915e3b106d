import { Body, Controller, Delete, Get, HttpCode, Param } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { TokenResultApi, VbaApi, VbaCreateDataApi, VbaTokenApi } from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { tokenResult } from '../enrolment/token-result.js';
import { Links } from '../http/links.js';
import { Action } from '../http/rest.js';
import { SessionUser } from '../session/session.guard.js';
import { VbaLinkService } from './vba-link.service.js';
import type { VbaRecord } from './vba-model.js';
import { VbaService } from './vba.service.js';
import { VbaStore } from './vba.store.js';

@ApiTags('vbas')
@Controller('vbas')
@Needs('view', 'shown')
export class VbasController {
  constructor(
    private readonly vbas: VbaStore,
    private readonly service: VbaService,
    private readonly link: VbaLinkService,
    private readonly links: Links,
  ) {}

  @Get()
  @ApiOkResponse({ type: [VbaApi] })
  list(): VbaApi[] {
    this.vbas.assertLoaded();
    return this.vbas.all().map((vba) => this.#view(vba));
  }

  @Get(':vba')
  @ApiOkResponse({ type: VbaApi })
  one(@Param('vba') vbaId: string): VbaApi {
    return this.#view(this.vbas.get(vbaId));
  }

  #view({ vbaId, name, hostId, address, state }: VbaRecord): VbaApi {
    const status = this.link.lastStatus(vbaId);
    return {
      Link: this.links.of(`vbas/${vbaId}`, 'VbaApi', vbaId), VbaIdentifier: vbaId, VbaName: name, HostIdentifier: hostId, IpAddress: address,
      VbaVersion: status?.version ?? null, IsConnected: this.link.isAlive(vbaId), IsBeingRemoved: state === 'Removing',
      CertificateEnds: status ? new Date(status.identity.notAfterMs).toISOString() : null,
    };
  }

  /** Answers its identifier and a token with which it is enrolled: within the hour, once. The token is shown here only. */
  @Action()
  @Needs('manageVras')
  @ApiOkResponse({ type: VbaTokenApi })
  async add(@Body() body: VbaCreateDataApi, @SessionUser() user: string): Promise<VbaTokenApi> {
    const { vbaId, token } = await this.service.add(body, user);
    return { VbaIdentifier: vbaId, ...tokenResult(token) };
  }

  /** For one that was not enrolled in time, or whose identity has expired or was lost: within the hour, once. */
  @Action(':vba/enrolmenttoken')
  @Needs('manageVras')
  @ApiOkResponse({ type: TokenResultApi })
  async makeToken(@Param('vba') vbaId: string, @SessionUser() user: string): Promise<TokenResultApi> {
    return tokenResult(await this.service.token(vbaId, user));
  }

  /** Its certificate and its NATS user are void at once. Answers the task's id. */
  @Delete(':vba')
  @HttpCode(200)
  @Needs('manageVras')
  async remove(@Param('vba') vbaId: string, @SessionUser() user: string): Promise<string> {
    return await this.service.remove(vbaId, user);
  }
}
