import { Injectable, type OnModuleInit } from '@nestjs/common';
import { LEAF_LIFETIME_MS, type VoidedComponent } from '@tidemark/trust';
import { type ApplianceRole, VOIDED_COMPONENTS_MAX } from '@tidemark/contracts';
import { LessThan } from 'typeorm';
import { Clock } from '../clock.js';
import { ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { VoidedComponentEntity } from '../persistence/entities.js';
import type { VoidedUntil } from '../trust/removals.js';
import { SiteTrust } from '../trust/site-trust.js';

export type Appliance = Pick<VoidedComponent, 'role' | 'instanceId'>;

const keyOf = ({ role, instanceId }: Appliance): string => `${role}/${instanceId}`;

/**
 * Appliances of this site whose certificates are taken back before they end; memory holds a copy of all rows. They stand in the trust folder as well
 * ({@link Removals}): what one of the two has forgotten, because it was brought back from a backup, it gets from the other at the start.
 */
@Injectable()
export class VoidedComponentStore implements OnModuleInit {
  readonly #kept = new Map<string, VoidedUntil>();
  readonly #listeners: (() => void)[] = [];
  #isLoaded = false;

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly trust: SiteTrust,
  ) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      const rows = (await this.database.use((db) => db.find(VoidedComponentEntity)))
        .map(({ role, instanceId, before, endsAt }): VoidedUntil => ({ role: role as ApplianceRole, instanceId, beforeMs: before.getTime(), endsAtMs: endsAt.getTime() }));
      const noted = [...this.trust.removals.voided];
      for (const row of unionOf(rows, noted)) {
        if (!rows.some((one) => isAtLeast(one, row))) await this.#save(row);
        if (!noted.some((one) => isAtLeast(one, row))) await this.trust.removals.noteVoided(row, this.clock.nowMs());
        this.#keep(row);
      }
      this.#isLoaded = true;
      this.#changed();
    });
  }

  #keep(kept: VoidedUntil): void {
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
    const row: VoidedUntil = { role, instanceId, beforeMs: Math.max(beforeMs, this.#kept.get(keyOf({ role, instanceId }))?.beforeMs ?? 0), endsAtMs: nowMs + LEAF_LIFETIME_MS };
    await this.trust.removals.noteVoided(row, nowMs);
    await this.#save(row);
    this.#keep(row);
    this.#changed();
  }

  async #save({ role, instanceId, beforeMs, endsAtMs }: VoidedUntil): Promise<void> {
    await this.database.use(async (db) => {
      await db.upsert(VoidedComponentEntity, { role, instanceId, before: new Date(beforeMs), endsAt: new Date(endsAtMs) }, ['role', 'instanceId']);
      await db.delete(VoidedComponentEntity, { endsAt: LessThan(new Date(this.clock.nowMs())) });
    });
  }
}

const isAtLeast = (one: VoidedUntil, other: VoidedUntil): boolean => keyOf(one) === keyOf(other) && one.beforeMs >= other.beforeMs && one.endsAtMs >= other.endsAtMs;

/** Of each appliance the later one of both dates. */
function unionOf(rows: readonly VoidedUntil[], noted: readonly VoidedUntil[]): VoidedUntil[] {
  const all = new Map<string, VoidedUntil>();
  for (const one of [...rows, ...noted]) {
    const known = all.get(keyOf(one));
    all.set(keyOf(one), { ...one, beforeMs: Math.max(one.beforeMs, known?.beforeMs ?? 0), endsAtMs: Math.max(one.endsAtMs, known?.endsAtMs ?? 0) });
  }
  return [...all.values()];
}
