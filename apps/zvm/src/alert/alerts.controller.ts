import { Controller, Get, Inject, Param, Query as QueryParams } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { ALERT_ENTITY, ALERT_LEVEL, AlertApi, names } from '@tidemark/contracts';
import { ALERTS } from '@tidemark/vpg';
import type { Caller } from '../access/caller.js';
import { Needs } from '../access/needs.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { forbidden, notFound } from '../errors.js';
import { Links } from '../http/links.js';
import { choice, instant, matches, param, type Query } from '../http/query.js';
import { Action } from '../http/rest.js';
import { SessionCaller } from '../session/session.guard.js';
import { type AlertRecord, AlertStore } from './alert.store.js';

@ApiTags('alerts')
@Controller('alerts')
@Needs('view', 'shown')
export class AlertsController {
  constructor(
    private readonly alerts: AlertStore,
    private readonly links: Links,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  @Get()
  @ApiOkResponse({ type: [AlertApi] })
  list(@QueryParams() query: Query, @SessionCaller() { rights }: Caller): AlertApi[] {
    const [level, entity] = [choice(query, 'level', ALERT_LEVEL), choice(query, 'entity', ALERT_ENTITY)];
    const [from, to] = [instant(query, 'startDate') ?? -Infinity, instant(query, 'endDate') ?? Infinity];
    const vpgId = param(query, 'vpgIdentifier')?.toLowerCase();
    return this.alerts.active().filter((alert) => rights.seesAbout(alert.vpgIds)
      && (level === undefined || alert.level === level) && (entity === undefined || alert.entity === entity)
      && alert.turnedOnAtMs >= from && alert.turnedOnAtMs <= to && (vpgId === undefined || alert.vpgIds.includes(vpgId))
      && matches(query, 'helpIdentifier', alert.helpIdentifier) && matches(query, 'isDismissed', String(alert.isDismissed)))
      .map((alert) => this.#view(alert));
  }

  @Get('levels')
  levels(): string[] {
    return names(ALERT_LEVEL);
  }

  @Get('entities')
  entities(): string[] {
    return names(ALERT_ENTITY);
  }

  @Get('helpidentifiers')
  helpIdentifiers(): string[] {
    return Object.keys(ALERTS);
  }

  @Get(':alert')
  @ApiOkResponse({ type: AlertApi })
  one(@Param('alert') alertId: string, @SessionCaller() caller: Caller): AlertApi {
    return this.#view(this.#get(alertId, caller));
  }

  @Action(':alert/dismiss')
  @Needs('dismissAlerts', 'shown')
  async dismiss(@Param('alert') alertId: string, @SessionCaller() caller: Caller): Promise<void> {
    await this.alerts.change(this.#dismissable(alertId, caller), { isDismissed: true });
  }

  @Action(':alert/undismiss')
  @Needs('dismissAlerts', 'shown')
  async undismiss(@Param('alert') alertId: string, @SessionCaller() caller: Caller): Promise<void> {
    await this.alerts.change(this.#dismissable(alertId, caller), { isDismissed: false });
  }

  #get(alertId: string, { rights }: Caller): AlertRecord {
    const alert = this.alerts.get(alertId);
    if (!rights.seesAbout(alert.vpgIds)) throw notFound('alert', alertId);
    return alert;
  }

  /** Who dismisses hides it from everybody: that takes the permission on all that it is about. */
  #dismissable(alertId: string, caller: Caller): AlertRecord {
    const alert = this.#get(alertId, caller);
    const { rights } = caller;
    const isAllowed = rights.can('dismissAlerts') || (alert.vpgIds.length > 0 && alert.vpgIds.every((id) => rights.canOn('dismissAlerts', id)));
    if (!isAllowed) throw forbidden(`'${caller.name}' does not have the permission dismissAlerts on everything that this alert is about`);
    return alert;
  }

  #view(alert: AlertRecord): AlertApi {
    return {
      Link: this.links.of(`alerts/${alert.alertId}`, 'AlertApi', alert.alertId),
      Level: ALERT_LEVEL.numbers[alert.level],
      Entity: ALERT_ENTITY.numbers[alert.entity],
      HelpIdentifier: alert.helpIdentifier,
      Description: alert.description,
      TurnedOn: new Date(alert.turnedOnAtMs).toISOString(),
      IsDismissed: alert.isDismissed,
      Site: this.links.site(this.config.siteId, this.config.siteId),
      AffectedVpgs: alert.vpgIds.map((id) => this.links.vpg(id)),
      AffectedZorgs: [],
    };
  }
}
