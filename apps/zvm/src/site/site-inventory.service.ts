import { Inject, Injectable } from '@nestjs/common';
import type { PeerVraV1 } from '@tidemark/contracts';
import type { Inventory } from '@tidemark/hypervisor';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { ZvmError } from '../errors.js';
import { InventoryService } from '../inventory/inventory.service.js';
import { PeerLinkService } from '../peer/peer-link.service.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { VraStore } from '../vra/vra.store.js';

/** What a VPG needs to know of a site: its inventory and its VRAs. */
export interface SiteInventory {
  readonly inventory: Inventory;
  readonly vras: readonly PeerVraV1[];
}

/** A picker page asks for hosts, datastores and networks in one go; a peer's answer serves them all. */
const PEER_CACHE_MS = 1500;

/** Inventory of this site and, asked through its ZVM, of each paired one. */
@Injectable()
export class SiteInventoryService {
  readonly #peers = new Map<string, { readonly site: Promise<SiteInventory>; readonly atMs: number }>();

  constructor(
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    private readonly inventory: InventoryService,
    private readonly vras: VraStore,
    private readonly vraLink: VraLinkService,
    private readonly peerLink: PeerLinkService,
    private readonly clock: Clock,
  ) {}

  /** This site's, for a peer that asks or for ourselves. @throws ZvmError ZVM_HYPERVISOR_DOWN */
  own(): SiteInventory {
    const problem = this.inventory.problem;
    if (problem) throw new ZvmError('ZVM_HYPERVISOR_DOWN', `the hypervisor manager of site ${this.config.siteName} does not answer: ${problem.text}`);
    const vras = this.vras.all().filter((vra) => vra.state === 'Installed').map((vra) => ({
      vraId: vra.vraId, name: vra.name, hostId: vra.hostId, address: vra.address, controlPort: this.config.vraControlPort,
      dataPort: this.config.vraDataPort, isAlive: this.vraLink.isAlive(vra.vraId),
    }));
    return { inventory: this.inventory.get(), vras };
  }

  /** As {@link of}, read now: for decisions. */
  async fresh(siteId: string): Promise<SiteInventory> {
    const id = siteId.toLowerCase();
    if (id === this.config.siteId) await this.inventory.refresh().catch(() => undefined);
    this.#peers.delete(id);
    return await this.of(id);
  }

  /** @throws ZvmError ZVM_NOT_FOUND for a site that is not paired, ZVM_PEER_DOWN */
  async of(siteId: string): Promise<SiteInventory> {
    const id = siteId.toLowerCase();
    if (id === this.config.siteId) return this.own();
    const cached = this.#peers.get(id);
    if (cached && this.clock.monotonicMs() - cached.atMs < PEER_CACHE_MS) return await cached.site;
    const site = this.peerLink.ask(id, 'inventory.get', {});
    this.#peers.set(id, { site, atMs: this.clock.monotonicMs() });
    site.catch(() => this.#peers.delete(id));
    return await site;
  }
}
