import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Query as QueryParams } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { names, TokenResultApi, VRA_IP_CONFIGURATION_TYPE, VRA_STATUS, VraApi, VraCreateDataApi } from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { tokenResult } from '../enrolment/token-result.js';
import { Links } from '../http/links.js';
import { choice, matches, type Query } from '../http/query.js';
import { Action } from '../http/rest.js';
import { InventoryService } from '../inventory/inventory.service.js';
import { SessionUser } from '../session/session.guard.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { VraLinkService } from './vra-link.service.js';
import { VraOperations } from './vra-operations.js';
import { VraStore } from './vra.store.js';
import { vraView } from './vra.view.js';

@ApiTags('vras')
@Controller('vras')
@Needs('view', 'shown')
export class VrasController {
  constructor(
    private readonly vras: VraStore,
    private readonly operations: VraOperations,
    private readonly link: VraLinkService,
    private readonly inventory: InventoryService,
    private readonly vpgs: VpgStore,
    private readonly links: Links,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  @Get()
  @ApiOkResponse({ type: [VraApi] })
  list(@QueryParams() query: Query): VraApi[] {
    this.vras.assertLoaded();
    const status = choice(query, 'status', VRA_STATUS);
    return this.#views().filter((vra) =>
      matches(query, 'vraName', vra.VraName) && matches(query, 'vraVersion', vra.VraVersion) && matches(query, 'ipAddress', vra.IpAddress)
      && matches(query, 'vraGroup', vra.VraGroup) && matches(query, 'datastoreName', vra.DatastoreName) && matches(query, 'networkName', vra.NetworkName)
      && (status === undefined || vra.Status === VRA_STATUS.numbers[status]));
  }

  @Get('statuses')
  statuses(): string[] {
    return names(VRA_STATUS);
  }

  @Get('ipconfigurationtypes')
  ipConfigurationTypes(): string[] {
    return names(VRA_IP_CONFIGURATION_TYPE);
  }

  @Get(':vra')
  @ApiOkResponse({ type: VraApi })
  one(@Param('vra') vraId: string): VraApi {
    const { vraId: id } = this.vras.get(vraId);
    return this.#views().find((vra) => vra.VraIdentifierStr === id) as VraApi;
  }

  #views(): VraApi[] {
    return this.vras.all().map((vra) => vraView(vra, {
      status: this.link.lastStatus(vra.vraId)?.status,
      isConnected: this.link.isAlive(vra.vraId),
      inventory: this.inventory.current,
      vpgs: this.vpgs.visible(),
      link: this.links.of(`vras/${vra.vraId}`, 'VraApi', vra.vraId),
      siteId: this.config.siteId,
    }));
  }

  /** Answers the task's id. */
  @Action()
  @Needs('manageVras')
  async install(@Body() body: VraCreateDataApi, @SessionUser() user: string): Promise<string> {
    return await this.operations.install(body, user);
  }

  /** With it the VRA of its host becomes a component of this site once more, after its identity has expired or was lost: within the hour, once. */
  @Action(':vra/enrolmenttoken')
  @Needs('manageVras')
  @ApiOkResponse({ type: TokenResultApi })
  async makeToken(@Param('vra') vraId: string, @SessionUser() user: string): Promise<TokenResultApi> {
    return tokenResult(await this.operations.enrolmentToken(vraId, user));
  }

  /** Answers the task's id. */
  @Delete(':vra')
  @HttpCode(200)
  @Needs('manageVras')
  async uninstall(@Param('vra') vraId: string, @SessionUser() user: string): Promise<string> {
    return await this.operations.uninstall(vraId, user);
  }
}
