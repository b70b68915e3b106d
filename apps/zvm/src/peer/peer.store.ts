import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { SiteCardV1 } from '@tidemark/contracts';
import type { VoidedComponent } from '@tidemark/trust';
import { notFound, ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { PeerSiteEntity } from '../persistence/entities.js';
import { SiteTrust } from '../trust/site-trust.js';

/** `pairing`: not confirmed by both sites yet. `parting`: it is shut out here and has still to be told; nobody is shown it any more. */
export type PairingState = 'pairing' | 'paired' | 'parting';

export interface PeerSite extends Readonly<SiteCardV1> {
  /** When the state began. */
  readonly pairedAtMs: number;
  readonly state: PairingState;
  /** Its CA certificates, newest first. */
  readonly caPem: readonly string[];
  /** Its VRAs that it does not believe any more. */
  readonly voided: readonly VoidedComponent[];
  /** It may begin to protect VMs of this site by itself: an administrator of this site has said so. */
  readonly canProtect: boolean;
}

/** Paired sites; memory holds a copy of all rows. */
@Injectable()
export class PeerStore implements OnModuleInit {
  readonly #sites = new Map<string, PeerSite>();
  readonly #listeners: (() => void)[] = [];
  #updates: Promise<unknown> = Promise.resolve();
  #isLoaded = false;

  constructor(
    private readonly database: Database,
    private readonly trust: SiteTrust,
  ) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      for (const row of await this.database.use((db) => db.find(PeerSiteEntity))) {
        const { hostName, pairedAt, state, ...site } = row;
        // Brought back from a backup of before it was unpaired: it stays shut out, and is told so.
        const isOver = this.trust.removals.partedAtMs(row.siteId) > pairedAt.getTime();
        this.#sites.set(row.siteId, { ...site, address: hostName, state: isOver ? 'parting' : (state as PairingState), pairedAtMs: pairedAt.getTime() });
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

  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** @throws ZvmError ZVM_DATABASE_DOWN while nothing was read yet: an empty list would be a lie */
  assertLoaded(): void {
    if (!this.#isLoaded) throw new ZvmError('ZVM_DATABASE_DOWN', 'the database of this site does not answer; trying again');
  }

  /** Those that are shown: paired, or on the way to it. */
  all(): PeerSite[] {
    return this.everyone().filter((site) => site.state !== 'parting');
  }

  /** Those that part as well. */
  everyone(): PeerSite[] {
    return [...this.#sites.values()].sort((a, b) => a.pairedAtMs - b.pairedAtMs);
  }

  find(siteId: string): PeerSite | undefined {
    const site = this.findAny(siteId);
    return site?.state === 'parting' ? undefined : site;
  }

  findAny(siteId: string): PeerSite | undefined {
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
    const { siteId, name, location, version, port, state, canProtect, address: hostName } = site;
    const row = { siteId, name, location, version, port, state, canProtect, hostName, caPem: [...site.caPem], voided: [...site.voided], pairedAt: new Date(site.pairedAtMs) };
    await this.database.use((db) => db.upsert(PeerSiteEntity, row, ['siteId']));
    this.#sites.set(siteId, site);
    this.#changed();
  }

  /** Changes what is there; a site that has gone meanwhile stays gone. */
  async update(siteId: string, change: Partial<Omit<PeerSite, 'siteId'>>): Promise<void> {
    // One after the other: a renewal that was read before must not write back what an administrator has just taken away.
    const mine = this.#updates.then(async () => {
      const site = this.findAny(siteId);
      if (site) await this.put({ ...site, ...change });
    });
    this.#updates = mine.catch(() => undefined);
    await mine;
  }

  async remove(siteId: string): Promise<void> {
    await this.database.use((db) => db.delete(PeerSiteEntity, { siteId }));
    this.#sites.delete(siteId);
    this.#changed();
  }
}
