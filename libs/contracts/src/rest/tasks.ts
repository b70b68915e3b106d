import { ALERT_ENTITY, ALERT_LEVEL, EVENT_CATEGORY, EVENT_ENTITY, EVENT_TYPE, TASK_STATE, TASK_TYPE } from './enumerations.js';
import { EnumNumber, Flag, Instant, Int, List, Section, Text } from './fields.js';
import { ResourceLink } from './links.js';

export class TaskStatusApi {
  @EnumNumber(TASK_STATE, { isRequired: true }) State!: number;
  /** Percent. */
  @Int({ isRequired: true, max: 100 }) Progress!: number;
}

export class TaskRelatedEntitiesApi {
  @List(() => ResourceLink) Vpgs?: ResourceLink[] | null;
  @List(() => ResourceLink) Sites?: ResourceLink[] | null;
  @List(() => ResourceLink) Hosts?: ResourceLink[] | null;
  @List(() => ResourceLink) FlrSessions?: ResourceLink[] | null;
}

export class TaskApi {
  @Section(() => ResourceLink, { isRequired: true }) Link!: ResourceLink;
  /** `<guid>.<guid>` */
  @Text({ isRequired: true }) TaskIdentifier!: string;
  @EnumNumber(TASK_TYPE, { isRequired: true }) Type!: number;
  @Section(() => TaskStatusApi, { isRequired: true }) Status!: TaskStatusApi;
  @Text() InitiatedBy?: string | null;
  @Instant({ isRequired: true }) Started!: string;
  @Instant() Completed?: string | null;
  /** Why it failed; what it did after a restart; empty when all went well. */
  @Text() CompleteReason?: string | null;
  @Flag() IsCancellable?: boolean | null;
  @Section(() => TaskRelatedEntitiesApi) RelatedEntities?: TaskRelatedEntitiesApi | null;
  /** A Tidemark addition: the step under way, in words. */
  @Text() CurrentStep?: string | null;
}

export class AlertApi {
  @Section(() => ResourceLink, { isRequired: true }) Link!: ResourceLink;
  @EnumNumber(ALERT_LEVEL, { isRequired: true }) Level!: number;
  @EnumNumber(ALERT_ENTITY, { isRequired: true }) Entity!: number;
  /** `VPG0009` */
  @Text({ isRequired: true }) HelpIdentifier!: string;
  @Text({ isRequired: true }) Description!: string;
  @Instant({ isRequired: true }) TurnedOn!: string;
  @Flag({ isRequired: true }) IsDismissed!: boolean;
  @Section(() => ResourceLink) Site?: ResourceLink | null;
  @List(() => ResourceLink) AffectedVpgs?: ResourceLink[] | null;
  @List(() => ResourceLink) AffectedZorgs?: ResourceLink[] | null;
}

export class EventRelatedEntitiesApi extends TaskRelatedEntitiesApi {
  @List(() => ResourceLink) Alerts?: ResourceLink[] | null;
}

export class EventApi {
  @Section(() => ResourceLink, { isRequired: true }) Link!: ResourceLink;
  @Text({ isRequired: true }) EventIdentifier!: string;
  @Text({ isRequired: true }) Description!: string;
  @Instant({ isRequired: true }) OccurredOn!: string;
  @EnumNumber(EVENT_TYPE, { isRequired: true }) EventType!: number;
  @Flag({ isRequired: true }) EventCompletedSuccessfully!: boolean;
  @EnumNumber(EVENT_ENTITY, { isRequired: true }) EntityType!: number;
  @EnumNumber(EVENT_CATEGORY) EventCategory?: number | null;
  @Text() UserName?: string | null;
  @Text() HelpLink?: string | null;
  @Section(() => EventRelatedEntitiesApi) RelatedEntities?: EventRelatedEntitiesApi | null;
}
