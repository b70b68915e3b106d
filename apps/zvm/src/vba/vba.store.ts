import { Injectable, type OnModuleInit } from '@nestjs/common';
import { notFound, ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { VbaEntity } from '../persistence/entities.js';
import type { VbaRecord, VbaState } from './vba-model.js';

/** The site's backup appliances; memory holds a copy of all rows. */
@Injectable()
export class VbaStore implements OnModuleInit {
  readonly #records = new Map<string, VbaRecord>();
  #isLoaded = false;

  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      for (const { createdAt, ...row } of await this.database.use((db) => db.find(VbaEntity))) {
        this.#records.set(row.vbaId, { ...row, state: row.state as VbaState, createdAtMs: createdAt.getTime() });
      }
      this.#isLoaded = true;
    });
  }

  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** @throws ZvmError ZVM_DATABASE_DOWN while nothing was read yet: an empty list would be a lie */
  assertLoaded(): void {
    if (!this.#isLoaded) throw new ZvmError('ZVM_DATABASE_DOWN', 'the database of this site does not answer; trying again');
  }

  all(): VbaRecord[] {
    return [...this.#records.values()].sort((a, b) => a.createdAtMs - b.createdAtMs || (a.vbaId < b.vbaId ? -1 : 1));
  }

  find(vbaId: string): VbaRecord | undefined {
    return this.#records.get(vbaId);
  }

  /** @throws ZvmError ZVM_NOT_FOUND, or ZVM_DATABASE_DOWN while nothing was read yet */
  get(vbaId: string): VbaRecord {
    this.assertLoaded();
    const record = this.#records.get(vbaId);
    if (!record) throw notFound('VBA', vbaId);
    return record;
  }

  async put(record: VbaRecord): Promise<void> {
    const { createdAtMs, ...row } = record;
    await this.database.use((db) => db.upsert(VbaEntity, { ...row, createdAt: new Date(createdAtMs) }, ['vbaId']));
    this.#records.set(record.vbaId, record);
  }

  async remove(vbaId: string): Promise<void> {
    await this.database.use((db) => db.delete(VbaEntity, { vbaId }));
    this.#records.delete(vbaId);
  }
}
