import { Injectable, type OnModuleInit } from '@nestjs/common';
import { LEAF_LIFETIME_MS, type VoidedVra } from '@tidemark/trust';
import { VOIDED_VRAS_MAX } from '@tidemark/contracts';
import { LessThan } from 'typeorm';
import { Clock } from '../clock.js';
import { ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { VoidedVraEntity } from '../persistence/entities.js';

interface Kept extends VoidedVra {
  readonly endsAtMs: number;
}

/** VRAs of this site whose certificates are taken back before they end; memory holds a copy of all rows. */
@Injectable()
export class VoidedVraStore implements OnModuleInit {
  readonly #kept = new Map<string, Kept>();
  readonly #listeners: (() => void)[] = [];
  #isLoaded = false;

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      for (const { vraId, before, endsAt } of await this.database.use((db) => db.find(VoidedVraEntity))) this.#kept.set(vraId, { vraId, beforeMs: before.getTime(), endsAtMs: endsAt.getTime() });
      this.#isLoaded = true;
      this.#changed();
    });
  }

  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Those with a certificate that may not have ended yet, by id. @throws ZvmError ZVM_DATABASE_DOWN while nothing was read yet: an empty list would be a lie */
  list(): VoidedVra[] {
    if (!this.#isLoaded) throw new ZvmError('ZVM_DATABASE_DOWN', 'the database of this site does not answer; trying again');
    const nowMs = this.clock.nowMs();
    const newest = [...this.#kept.values()].filter(({ endsAtMs }) => endsAtMs > nowMs).sort((a, b) => b.endsAtMs - a.endsAtMs).slice(0, VOIDED_VRAS_MAX);
    return newest.map(({ vraId, beforeMs }) => ({ vraId, beforeMs })).sort((a, b) => (a.vraId < b.vraId ? -1 : 1));
  }

  /** No certificate of it counts any more. Its id is never given again. */
  async voidAll(vraId: string): Promise<void> {
    await this.voidBefore({ vraId, beforeMs: this.clock.nowMs() + LEAF_LIFETIME_MS });
  }

  /** Certificates that begin before this do not count any more; durable when it resolves. */
  async voidBefore({ vraId, beforeMs }: VoidedVra): Promise<void> {
    const nowMs = this.clock.nowMs();
    const row: Kept = { vraId, beforeMs: Math.max(beforeMs, this.#kept.get(vraId)?.beforeMs ?? 0), endsAtMs: nowMs + LEAF_LIFETIME_MS };
    await this.database.use(async (db) => {
      await db.upsert(VoidedVraEntity, { vraId, before: new Date(row.beforeMs), endsAt: new Date(row.endsAtMs) }, ['vraId']);
      await db.delete(VoidedVraEntity, { endsAt: LessThan(new Date(nowMs)) });
    });
    this.#kept.set(vraId, row);
    this.#changed();
  }
}
