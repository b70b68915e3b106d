import { Injectable, type OnModuleInit } from '@nestjs/common';
import { notFound, ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { VraEntity } from '../persistence/entities.js';
import type { VraRecord, VraSettings, VraState } from './vra-model.js';

/** The site's VRAs; memory holds a copy of all rows. */
@Injectable()
export class VraStore implements OnModuleInit {
  readonly #records = new Map<string, VraRecord>();
  #last: Promise<void> = Promise.resolve();
  #isLoaded = false;

  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      const rows = await this.database.use((db) => db.find(VraEntity));
      for (const row of rows) this.#records.set(row.vraId, fromRow(row));
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

  all(): VraRecord[] {
    return [...this.#records.values()].sort((a, b) => a.createdAtMs - b.createdAtMs || (a.vraId < b.vraId ? -1 : 1));
  }

  find(vraId: string): VraRecord | undefined {
    return this.#records.get(vraId);
  }

  /** @throws ZvmError ZVM_NOT_FOUND, or ZVM_DATABASE_DOWN while nothing was read yet */
  get(vraId: string): VraRecord {
    this.assertLoaded();
    const record = this.#records.get(vraId);
    if (!record) throw notFound('VRA', vraId);
    return record;
  }

  onHost(hostId: string): VraRecord | undefined {
    return this.all().find((vra) => vra.hostId === hostId);
  }

  async put(record: VraRecord): Promise<void> {
    await this.#serially(() => this.#write(record));
  }

  /** Changes what is there now, one change after the other; a VRA that has gone meanwhile stays gone. */
  async update(vraId: string, change: (record: VraRecord) => VraRecord): Promise<void> {
    await this.#serially(async () => {
      const record = this.#records.get(vraId);
      if (record) await this.#write(change(record));
    });
  }

  async remove(vraId: string): Promise<void> {
    await this.#serially(async () => {
      await this.database.use((db) => db.delete(VraEntity, { vraId }));
      this.#records.delete(vraId);
    });
  }

  async #write(record: VraRecord): Promise<void> {
    const { createdAtMs, ...row } = record;
    await this.database.use((db) => db.upsert(VraEntity, { ...row, createdAt: new Date(createdAtMs) }, ['vraId']));
    this.#records.set(record.vraId, record);
  }

  async #serially(work: () => Promise<void>): Promise<void> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => undefined);
    await mine;
  }
}

function fromRow({ createdAt, ...row }: VraEntity): VraRecord {
  return { ...row, state: row.state as VraState, settings: row.settings as VraSettings, createdAtMs: createdAt.getTime() };
}
