import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { Database } from '../persistence/database.js';

const EVERY_MS = 10 * 60_000;
/** As tasks. What people, sites and appliances did stands in the audit, which is kept. */
export const EVENTS_MS = 90 * 24 * 3_600_000;
export const EVENTS_MAX = 100_000;
/** That are off; those that are on stay. */
export const ALERTS_MAX = 100_000;

/** Events, and alerts that are off, go after their time, or when there are too many: the oldest first. */
@Injectable()
export class EventRetention implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #loop = new Background('event-retention', EVERY_MS, () => this.prune({ before: new Date(this.clock.nowMs() - EVENTS_MS), eventsMax: EVENTS_MAX, alertsMax: ALERTS_MAX }));

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.#loop.start();
  }

  /** Runs by itself; a test calls it. */
  async prune({ before, eventsMax, alertsMax }: { readonly before: Date; readonly eventsMax: number; readonly alertsMax: number }): Promise<void> {
    await this.database.use(async (db) => {
      await db.query('DELETE FROM events WHERE occurred_at < $1 OR event_id IN (SELECT event_id FROM events ORDER BY occurred_at DESC, event_id OFFSET $2)', [before, eventsMax]);
      await db.query(
        'DELETE FROM alerts WHERE turned_off_at < $1 OR alert_id IN (SELECT alert_id FROM alerts WHERE turned_off_at IS NOT NULL ORDER BY turned_off_at DESC, alert_id OFFSET $2)',
        [before, alertsMax],
      );
    });
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}
