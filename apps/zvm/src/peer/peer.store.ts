import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { SiteCardV1 } from '@tidemark/contracts';
import { notFound, ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { PeerSiteEntity } from '../persistence/entities.js';

export interface PeerSite extends Readonly<SiteCardV1> {
  readonly pairedAtMs: number;
}

/** Paired sites; memory holds a copy of all rows. */
@Injectable()
export class PeerStore implements OnModuleInit {
  readonly #sites = new Map<string, PeerSite>();
  readonly #listeners: (() => void)[] = [];
  #isLoaded = false;

  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      for (const row of await this.database.use((db) => db.find(PeerSiteEntity))) {
        const { hostName, pairedAt, ...site } = row;
        this.#sites.set(row.siteId, { ...site, address: hostName, pairedAtMs: pairedAt.getTime() });
      }
      this.#isLoaded = true;
      this.#changed();
    });
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  /** @throws ZvmError ZVM_DATABASE_DOWN while nothing was read yet: an empty list would be a lie */
  assertLoaded(): void {
    if (!this.#isLoaded) throw new ZvmError('ZVM_DATABASE_DOWN', 'the database of this site does not answer; trying again');
  }

  all(): PeerSite[] {
    return [...this.#sites.values()].sort((a, b) => a.pairedAtMs - b.pairedAtMs);
  }

  find(siteId: string): PeerSite | undefined {
    return this.#sites.get(siteId.toLowerCase());
  }

  /** @throws ZvmError ZVM_NOT_FOUND, or ZVM_DATABASE_DOWN while nothing was read yet */
  get(siteId: string): PeerSite {
    this.assertLoaded();
    const site = this.find(siteId);
    if (!site) throw notFound('paired site', siteId);
    return site;
  }

  async put(site: PeerSite): Promise<void> {
    const { address, pairedAtMs, ...rest } = site;
    const row = { siteId: rest.siteId, name: rest.name, location: rest.location, version: rest.version, port: rest.port };
    await this.database.use((db) => db.upsert(PeerSiteEntity, { ...row, hostName: address, pairedAt: new Date(pairedAtMs) }, ['siteId']));
    this.#sites.set(site.siteId, site);
    this.#changed();
  }

  async remove(siteId: string): Promise<void> {
    await this.database.use((db) => db.delete(PeerSiteEntity, { siteId }));
    this.#sites.delete(siteId);
    this.#changed();
  }
}
