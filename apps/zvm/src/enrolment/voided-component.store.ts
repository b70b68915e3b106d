import { Injectable, type OnModuleInit } from '@nestjs/common';
import { LEAF_LIFETIME_MS, type VoidedComponent } from '@tidemark/trust';
import { type ApplianceRole, VOIDED_COMPONENTS_MAX } from '@tidemark/contracts';
import { LessThan } from 'typeorm';
import { Clock } from '../clock.js';
import { ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { VoidedComponentEntity } from '../persistence/entities.js';

export type Appliance = Pick<VoidedComponent, 'role' | 'instanceId'>;

const keyOf = ({ role, instanceId }: Appliance): string => `${role}/${instanceId}`;

interface Kept extends VoidedComponent {
  readonly endsAtMs: number;
}

/** Appliances of this site whose certificates are taken back before they end; memory holds a copy of all rows. */
@Injectable()
export class VoidedComponentStore implements OnModuleInit {
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
      const rows = await this.database.use((db) => db.find(VoidedComponentEntity));
      for (const { role, instanceId, before, endsAt } of rows) this.#keep({ role: role as ApplianceRole, instanceId, beforeMs: before.getTime(), endsAtMs: endsAt.getTime() });
      this.#isLoaded = true;
      this.#changed();
    });
  }

  #keep(kept: Kept): void {
    this.#kept.set(keyOf(kept), kept);
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
  list(): VoidedComponent[] {
    if (!this.#isLoaded) throw new ZvmError('ZVM_DATABASE_DOWN', 'the database of this site does not answer; trying again');
    const nowMs = this.clock.nowMs();
    const newest = [...this.#kept.values()].filter(({ endsAtMs }) => endsAtMs > nowMs).sort((a, b) => b.endsAtMs - a.endsAtMs).slice(0, VOIDED_COMPONENTS_MAX);
    return newest.map(({ role, instanceId, beforeMs }) => ({ role, instanceId, beforeMs })).sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  }

  /** No certificate of it counts any more. Its id is never given again. */
  async voidAll(appliance: Appliance): Promise<void> {
    await this.voidBefore({ ...appliance, beforeMs: this.clock.nowMs() + LEAF_LIFETIME_MS });
  }

  /** Certificates that begin before this do not count any more; durable when it resolves. */
  async voidBefore({ role, instanceId, beforeMs }: VoidedComponent): Promise<void> {
    const nowMs = this.clock.nowMs();
    const row: Kept = { role, instanceId, beforeMs: Math.max(beforeMs, this.#kept.get(keyOf({ role, instanceId }))?.beforeMs ?? 0), endsAtMs: nowMs + LEAF_LIFETIME_MS };
    await this.database.use(async (db) => {
      await db.upsert(VoidedComponentEntity, { role, instanceId, before: new Date(row.beforeMs), endsAt: new Date(row.endsAtMs) }, ['role', 'instanceId']);
      await db.delete(VoidedComponentEntity, { endsAt: LessThan(new Date(nowMs)) });
    });
    this.#keep(row);
    this.#changed();
  }
}
