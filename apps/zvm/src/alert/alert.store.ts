import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { ActiveAlert, WantedAlert } from '@tidemark/vpg';
import { randomUUID } from 'node:crypto';
import { IsNull } from 'typeorm';
import { notFound } from '../errors.js';
import { Database } from '../persistence/database.js';
import { AlertEntity } from '../persistence/entities.js';

export interface AlertRecord extends ActiveAlert {
  readonly level: 'Warning' | 'Error';
  readonly entity: 'Zvm' | 'Vra' | 'Vpg';
  readonly vpgIds: readonly string[];
  readonly isDismissed: boolean;
  readonly turnedOnAtMs: number;
}

/** The alerts that are on; memory holds a copy, because they are compared with what should be on each second. */
@Injectable()
export class AlertStore implements OnModuleInit {
  readonly #active = new Map<string, AlertRecord>();
  #isLoaded = false;

  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      for (const row of await this.database.use((db) => db.findBy(AlertEntity, { turnedOffAt: IsNull() }))) this.#active.set(row.alertId, fromRow(row));
      this.#isLoaded = true;
    });
  }

  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** Newest first. */
  active(): AlertRecord[] {
    return [...this.#active.values()].sort((a, b) => b.turnedOnAtMs - a.turnedOnAtMs);
  }

  get(alertId: string): AlertRecord {
    const found = this.#active.get(alertId.toLowerCase());
    if (!found) throw notFound('alert', alertId);
    return found;
  }

  async turnOn(wanted: WantedAlert, at: Date): Promise<void> {
    const { helpIdentifier, subject, level, entity, description, vpgIds } = wanted;
    const row = { alertId: randomUUID(), helpIdentifier, subject, level, entity, description, vpgIds: [...vpgIds], isDismissed: false, turnedOnAt: at, turnedOffAt: null };
    await this.database.use((db) => db.insert(AlertEntity, row));
    this.#active.set(row.alertId, fromRow(row));
  }

  async turnOff(alertId: string, at: Date): Promise<void> {
    await this.database.use((db) => db.update(AlertEntity, { alertId }, { turnedOffAt: at }));
    this.#active.delete(alertId);
  }

  async change(alert: AlertRecord, values: Partial<Pick<AlertRecord, 'description' | 'isDismissed'>>): Promise<void> {
    await this.database.use((db) => db.update(AlertEntity, { alertId: alert.alertId }, values));
    if (this.#active.has(alert.alertId)) this.#active.set(alert.alertId, { ...alert, ...values });
  }
}

function fromRow(row: AlertEntity): AlertRecord {
  const { turnedOnAt, turnedOffAt: _off, ...rest } = row;
  return { ...rest, level: row.level as AlertRecord['level'], entity: row.entity as AlertRecord['entity'], turnedOnAtMs: turnedOnAt.getTime() };
}
