import { Controller, Get, Inject, Param, Query as QueryParams } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { EVENT_CATEGORY, EVENT_ENTITY, EVENT_TYPE, EventApi, type EventTypeName, names } from '@tidemark/contracts';
import type { Caller } from '../access/caller.js';
import { Needs } from '../access/needs.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Links } from '../http/links.js';
import { notFound } from '../errors.js';
import { choice, instant, matches, param, type Query } from '../http/query.js';
import { SessionCaller } from '../session/session.guard.js';
import { type EventRecord, EventService } from './event.service.js';

@ApiTags('events')
@Controller('events')
@Needs('view', 'shown')
export class EventsController {
  constructor(
    private readonly events: EventService,
    private readonly links: Links,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  @Get()
  @ApiOkResponse({ type: [EventApi] })
  async list(@QueryParams() query: Query, @SessionCaller() { rights }: Caller): Promise<EventApi[]> {
    const [type, entity, category] = [choice(query, 'eventType', EVENT_TYPE), choice(query, 'entityType', EVENT_ENTITY), choice(query, 'category', EVENT_CATEGORY)];
    const vpgId = param(query, 'vpgIdentifier')?.toLowerCase();
    const found = await this.events.list({ fromMs: instant(query, 'startDate'), toMs: instant(query, 'endDate') });
    return found.filter((event) => rights.seesAbout(event.vpgIds)
      && (type === undefined || event.type === type) && (entity === undefined || event.entity === entity)
      && (category === undefined || category === 'All' || event.category === category)
      && (vpgId === undefined || event.vpgIds.includes(vpgId)) && matches(query, 'userName', event.userName))
      .map((event) => this.#view(event));
  }

  @Get('types')
  types(): string[] {
    return names(EVENT_TYPE);
  }

  @Get('entities')
  entities(): string[] {
    return names(EVENT_ENTITY);
  }

  @Get('categories')
  categories(): string[] {
    return names(EVENT_CATEGORY);
  }

  @Get(':event')
  @ApiOkResponse({ type: EventApi })
  async one(@Param('event') eventId: string, @SessionCaller() { rights }: Caller): Promise<EventApi> {
    const event = await this.events.get(eventId);
    if (!rights.seesAbout(event.vpgIds)) throw notFound('event', eventId);
    return this.#view(event);
  }

  #view(event: EventRecord): EventApi {
    return {
      Link: this.links.of(`events/${event.eventId}`, 'EventApi', event.eventId),
      EventIdentifier: event.eventId,
      Description: event.description,
      OccurredOn: new Date(event.occurredAtMs).toISOString(),
      EventType: EVENT_TYPE.numbers[event.type as EventTypeName],
      EventCompletedSuccessfully: event.isSuccess,
      EntityType: EVENT_ENTITY.numbers[event.entity],
      EventCategory: EVENT_CATEGORY.numbers[event.category],
      UserName: event.userName,
      HelpLink: null,
      RelatedEntities: {
        Vpgs: event.vpgIds.map((id) => this.links.vpg(id)), Sites: [this.links.site(this.config.siteId, this.config.siteId)], Hosts: [], FlrSessions: [], Alerts: [],
      },
    };
  }
}
