import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Query as QueryParams } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import {
  CheckpointApi, COMMIT_POLICY, EMPTY_ZORG_ID, ENTITY_TYPE, FailoverCommitDataApi, FailoverDataApi, FailOverTestStartDataApi, MoveCommitVpgDataApi, MoveVpgDataApi, names, PRIORITY, RETENTION_POLICY,
  SHUTDOWN_POLICY, StopFailoverTestDataApi, VPG_STATUS, VPG_SUB_STATUS, VpgApi, VpgCheckpointsStatsApi, VpgDeleteDataApi, VpgInsertTagCheckpointDataApi,
} from '@tidemark/contracts';
import type { Caller } from '../access/caller.js';
import { Needs } from '../access/needs.js';
import { AlertService } from '../alert/alert.service.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Links } from '../http/links.js';
import { choice, instant, matches, param, type Query } from '../http/query.js';
import { Action } from '../http/rest.js';
import { SessionCaller, SessionUser } from '../session/session.guard.js';
import { CatalogueStore } from './catalogue.store.js';
import { VpgActions } from './vpg-actions.service.js';
import type { VpgRecord } from './vpg-model.js';
import { VpgStatusService } from './vpg-status.service.js';
import { VpgStore } from './vpg.store.js';
import { checkpointView, vpgView } from './vpg.view.js';

@ApiTags('vpgs')
@Controller('vpgs')
export class VpgsController {
  constructor(
    private readonly vpgs: VpgStore,
    private readonly actions: VpgActions,
    private readonly status: VpgStatusService,
    private readonly catalogues: CatalogueStore,
    private readonly alerts: AlertService,
    private readonly links: Links,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  @Get()
  @ApiOkResponse({ type: [VpgApi] })
  @Needs('view', 'shown')
  async list(@QueryParams() query: Query, @SessionCaller() { rights }: Caller): Promise<VpgApi[]> {
    this.vpgs.assertLoaded();
    const views = await Promise.all(this.vpgs.visible().filter(({ definition }) => rights.sees(definition.vpgId)).map((vpg) => this.#view(vpg)));
    return views.filter((vpg) => matchesQuery(vpg, query));
  }

  @Get('statuses')
  @Needs('view', 'shown')
  statuses(): string[] {
    return names(VPG_STATUS);
  }

  @Get('substatuses')
  @Needs('view', 'shown')
  subStatuses(): string[] {
    return names(VPG_SUB_STATUS);
  }

  @Get('priorities')
  @Needs('view', 'shown')
  priorities(): string[] {
    return names(PRIORITY);
  }

  @Get('entitytypes')
  @Needs('view', 'shown')
  entityTypes(): string[] {
    return names(ENTITY_TYPE);
  }

  @Get('retentionpolicies')
  @Needs('view', 'shown')
  retentionPolicies(): string[] {
    return names(RETENTION_POLICY);
  }

  @Get('failovershutdownpolicies')
  @Needs('view', 'shown')
  shutdownPolicies(): string[] {
    return names(SHUTDOWN_POLICY);
  }

  @Get('failovercommitpolicies')
  @Needs('view', 'shown')
  commitPolicies(): string[] {
    return names(COMMIT_POLICY);
  }

  @Get(':vpg')
  @ApiOkResponse({ type: VpgApi })
  async one(@Param('vpg') vpgId: string): Promise<VpgApi> {
    return await this.#view(this.vpgs.get(vpgId));
  }

  async #view(vpg: VpgRecord): Promise<VpgApi> {
    await this.status.load(vpg);
    const alertLevels = this.alerts.levelsOf(vpg.definition.vpgId);
    return vpgView(vpg, this.status.measure(vpg), { links: this.links, ownSiteId: this.config.siteId, alertLevels });
  }

  /** Answers the task's id. */
  @Delete(':vpg')
  @HttpCode(200)
  @Needs('manageVpgs')
  async remove(@Param('vpg') vpgId: string, @Body() input: VpgDeleteDataApi, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'delete', vpgId, input }, user);
  }

  /** Oldest first. */
  @Get(':vpg/checkpoints')
  @ApiOkResponse({ type: [CheckpointApi] })
  async checkpoints(@Param('vpg') vpgId: string, @QueryParams() query: Query): Promise<CheckpointApi[]> {
    const { definition } = this.vpgs.get(vpgId);
    const range = { fromMs: instant(query, 'startDate'), toMs: instant(query, 'endDate') };
    return (await this.catalogues.list(definition.vpgId, range)).map(checkpointView);
  }

  @Get(':vpg/checkpoints/stats')
  @ApiOkResponse({ type: VpgCheckpointsStatsApi })
  async stats(@Param('vpg') vpgId: string): Promise<VpgCheckpointsStatsApi> {
    const { earliest, latest } = await this.catalogues.load(this.vpgs.get(vpgId).definition.vpgId);
    return { Earliest: earliest ? checkpointView(earliest) : null, Latest: latest ? checkpointView(latest) : null };
  }

  /** Answers the task's id. */
  @Action(':vpg/checkpoints')
  @Needs('insertCheckpoint')
  async insertCheckpoint(@Param('vpg') vpgId: string, @Body() input: VpgInsertTagCheckpointDataApi, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'insertCheckpoint', vpgId, input }, user);
  }

  /** Delta sync of everything, for a user who doubts the recovery volumes. Answers the task's id. */
  @Action(':vpg/forcesync')
  @Needs('manageVpgs')
  async forceSync(@Param('vpg') vpgId: string, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'forceSync', vpgId, input: {} }, user);
  }

  /** Stops sending; the VPG can still be recovered to its last checkpoint. Answers the task's id. */
  @Action(':vpg/pause')
  @Needs('manageVpgs')
  async pause(@Param('vpg') vpgId: string, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'pause', vpgId, input: {} }, user);
  }

  /** Sends what was kept, or what the bitmap marks. Answers the task's id. */
  @Action(':vpg/resume')
  @Needs('manageVpgs')
  async resume(@Param('vpg') vpgId: string, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'resume', vpgId, input: {} }, user);
  }

  @Action(':vpg/FailoverTest')
  @Needs('testFailover')
  async failoverTest(@Param('vpg') vpgId: string, @Body() input: FailOverTestStartDataApi, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'failoverTest', vpgId, input }, user);
  }

  @Action(':vpg/FailoverTestStop')
  @Needs('testFailover')
  async failoverTestStop(@Param('vpg') vpgId: string, @Body() input: StopFailoverTestDataApi, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'failoverTestStop', vpgId, input }, user);
  }

  @Action(':vpg/Failover')
  @Needs('failover')
  async failover(@Param('vpg') vpgId: string, @Body() input: FailoverDataApi, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'failover', vpgId, input }, user);
  }

  /** Ends the old history: no checkpoint before it can be chosen any more. */
  @Action(':vpg/FailoverCommit')
  @Needs('failover')
  async failoverCommit(@Param('vpg') vpgId: string, @Body() input: FailoverCommitDataApi, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'failoverCommit', vpgId, input }, user);
  }

  /** Planned: the VMs are shut down, everything that they wrote is sent, and they start at the recovery site. Answers the task's id. */
  @Action(':vpg/Move')
  @Needs('failover')
  async move(@Param('vpg') vpgId: string, @Body() input: MoveVpgDataApi, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'move', vpgId, input }, user);
  }

  /** Ends the old history, as the commit of a failover does. */
  @Action(':vpg/MoveCommit')
  @Needs('failover')
  async moveCommit(@Param('vpg') vpgId: string, @Body() input: MoveCommitVpgDataApi, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'moveCommit', vpgId, input }, user);
  }

  @Action(':vpg/moveRollback')
  @Needs('failover')
  async moveRollback(@Param('vpg') vpgId: string, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'moveRollback', vpgId, input: {} }, user);
  }

  @Action(':vpg/FailoverRollback')
  @Needs('failover')
  async failoverRollback(@Param('vpg') vpgId: string, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'failoverRollback', vpgId, input: {} }, user);
  }
}

function matchesQuery(vpg: VpgApi, query: Query): boolean {
  const status = choice(query, 'status', VPG_STATUS);
  const subStatus = choice(query, 'subStatus', VPG_SUB_STATUS);
  const priority = choice(query, 'priority', PRIORITY);
  const zorg = param(query, 'zorgIdentifier');
  return (matches(query, 'name', vpg.VpgName) && matches(query, 'vpgName', vpg.VpgName))
    && (status === undefined || vpg.Status === VPG_STATUS.numbers[status])
    && (subStatus === undefined || vpg.SubStatus === VPG_SUB_STATUS.numbers[subStatus])
    && (priority === undefined || vpg.Priority === PRIORITY.numbers[priority])
    && matches(query, 'protectedSiteIdentifier', vpg.ProtectedSite?.identifier) && matches(query, 'recoverySiteIdentifier', vpg.RecoverySite?.identifier)
    && (zorg === undefined || zorg === EMPTY_ZORG_ID);
}
