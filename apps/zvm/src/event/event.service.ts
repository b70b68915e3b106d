import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { Clock } from '../clock.js';
import { notFound } from '../errors.js';
import { Database } from '../persistence/database.js';
import { EventEntity } from '../persistence/entities.js';

export interface EventRecord {
  readonly eventId: string;
  /** Name of the reference's event type. */
  readonly type: string;
  readonly category: 'Events' | 'Alerts';
  readonly entity: 'VPG' | 'VRA' | 'Unknown' | 'Site';
  readonly description: string;
  readonly userName: string;
  readonly isSuccess: boolean;
  readonly vpgIds: readonly string[];
  readonly occurredAtMs: number;
}

const LISTED_MAX = 1000;

/** What happened, for people who look back. */
@Injectable()
export class EventService {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** Under an `eventId` that is known already nothing is recorded: whoever may run twice gives one. */
  async record(event: Omit<EventRecord, 'eventId' | 'occurredAtMs'> & { readonly eventId?: string }): Promise<void> {
    const row = { ...event, eventId: event.eventId ?? randomUUID(), occurredAt: new Date(this.clock.nowMs()), vpgIds: [...event.vpgIds] };
    await this.database.use((db) => db.createQueryBuilder().insert().into(EventEntity).values(row).orIgnore().execute());
  }

  /** Newest first. */
  async list(range: { readonly fromMs: number | undefined; readonly toMs: number | undefined }): Promise<EventRecord[]> {
    const rows = await this.database.use((db) => {
      const query = db.createQueryBuilder(EventEntity, 'e').where('TRUE');
      if (range.fromMs !== undefined) query.andWhere('e.occurred_at >= :from', { from: new Date(range.fromMs) });
      if (range.toMs !== undefined) query.andWhere('e.occurred_at <= :to', { to: new Date(range.toMs) });
      return query.orderBy('e.occurred_at', 'DESC').take(LISTED_MAX).getMany();
    });
    return rows.map(fromRow);
  }

  async get(eventId: string): Promise<EventRecord> {
    const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(eventId);
    const row = isUuid ? await this.database.use((db) => db.findOneBy(EventEntity, { eventId })) : null;
    if (!row) throw notFound('event', eventId);
    return fromRow(row);
  }
}

function fromRow(row: EventEntity): EventRecord {
  const { occurredAt, ...rest } = row;
  return { ...rest, category: row.category as EventRecord['category'], entity: row.entity as EventRecord['entity'], occurredAtMs: occurredAt.getTime() };
}
