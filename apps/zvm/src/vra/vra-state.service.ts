import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { createHash } from 'node:crypto';
import { Background } from '../background.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { messageOf } from '../errors.js';
import { SiteThrottle } from '../site/site-throttle.service.js';
import type { TrustV1 } from '@tidemark/contracts';
import { ControlError } from '@tidemark/nest';
import { VraCustody, type VraWord } from '@tidemark/vpg';
import { InventoryService } from '../inventory/inventory.service.js';
import { OwnershipService } from '../ownership/ownership.service.js';
import { PeerStore } from '../peer/peer.store.js';
import { VoidedComponentStore } from '../enrolment/voided-component.store.js';
import { SiteTrust } from '../trust/site-trust.js';
import { isCompressedOf, priorityOf } from '../vpg/vpg-definition.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { desiredContents, desiredState, type VraContent } from './desired-state.js';
import { VraLinkService } from './vra-link.service.js';
import type { VraRecord } from './vra-model.js';
import { VraStore } from './vra.store.js';

/** Far above what any document has reached, and below what the database can count: a VRA that shows more is not followed there. */
const SHOWN_REVISION_MAX = 2_000_000_000;

const digestOf = (content: unknown): string => createHash('sha256').update(JSON.stringify(content)).digest('hex');

/**
 * Keeps every VRA of the site at the sending-side state that inventory and VPGs ask for: derives it whole, counts a revision
 * when it differs from the last, and pushes it as long as the VRA's heartbeat shows another one.
 */
@Injectable()
export class VraStateService implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger(VraStateService.name);
  /** By VRA. */
  readonly #custodies = new Map<string, VraCustody>();
  readonly #loop = new Background('vra-state', 1000, () => this.#reconcile());

  constructor(
    private readonly vras: VraStore,
    private readonly vpgs: VpgStore,
    private readonly inventory: InventoryService,
    private readonly link: VraLinkService,
    private readonly throttle: SiteThrottle,
    private readonly ownership: OwnershipService,
    private readonly peers: PeerStore,
    private readonly trust: SiteTrust,
    private readonly voided: VoidedComponentStore,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.inventory.onChange(() => this.#loop.poke());
    this.throttle.onChange(() => this.#loop.poke());
    this.ownership.onChange(() => this.#loop.poke());
    this.peers.onChange(() => this.#loop.poke());
    this.voided.onChange(() => this.#loop.poke());
    this.#loop.start();
  }

  /** Something that the documents are made of has changed. */
  poke(): void {
    this.#loop.poke();
  }

  /** True when the VRA runs the newest document made for it. */
  isCurrent(vraId: string): boolean {
    const vra = this.vras.find(vraId);
    return vra !== undefined && vra.revision > 0 && this.link.status(vraId)?.revision === vra.revision;
  }

  /** VRAs of the hosts where these VMs run now. */
  vraIdsOf(vmIds: readonly string[]): string[] {
    const hostIds = new Set(this.inventory.current?.vms.filter((vm) => vmIds.includes(vm.id)).map((vm) => vm.hostId));
    return this.vras.all().filter((vra) => hostIds.has(vra.hostId)).map((vra) => vra.vraId);
  }

  async #reconcile(): Promise<void> {
    const inventory = this.inventory.current;
    // Not known is not the same as not there: a document made too early would detach everything.
    if (!inventory || !this.vras.isLoaded || !this.vpgs.isLoaded || !this.throttle.isLoaded || !this.ownership.isLoaded || !this.peers.isLoaded || !this.voided.isLoaded) return;
    const vras = this.vras.all();
    const contents = desiredContents({
      siteId: this.config.siteId, trust: { sites: this.#trusted() }, fencedVmIds: this.ownership.fencedVmIds(), inventory, vras, vpgs: this.vpgs.all(), priorityOf, isCompressedOf,
      wordOf: (vraId) => this.#wordOf(vraId), custodyOf: (vraId) => this.#custodyOf(vraId),
      ports: { control: this.config.vraControlPort, data: this.config.vraDataPort },
    });
    const throttles = this.throttle.perVra(vras.map(({ vraId }) => vraId));
    for (const content of contents.values()) await this.#countBarriers(content);
    await Promise.all(vras.map(async (vra) => {
      const content = contents.get(vra.vraId);
      const throttle = throttles.get(vra.vraId);
      if (content) await this.#bringTo(vra, throttle ? { ...content, throttle } : content).catch((error: unknown) => this.#report(vra, error));
    }));
  }

  /** A VRA that is away is told again; one that knows more than this database is the operator's. */
  #report(vra: VraRecord, error: unknown): void {
    const isBehind = error instanceof ControlError && error.remoteCode === 'VRA_EPOCH';
    this.#log[isBehind ? 'error' : 'debug'](`VRA ${vra.name}: ${messageOf(error)}`);
  }

  #wordOf(vraId: string): VraWord | undefined {
    const last = this.link.lastStatus(vraId);
    return last && { revision: last.status.revision, attachedVmIds: new Set(last.status.attachedVmIds) };
  }

  #custodyOf(vraId: string): VraCustody {
    let custody = this.#custodies.get(vraId);
    if (!custody) this.#custodies.set(vraId, (custody = new VraCustody()));
    return custody;
  }

  /** Whose VRAs are believed: this site's, and those of paired ones; but for the certificates that their site has taken back. */
  #trusted(): TrustV1['sites'] {
    const { siteId, caPem } = this.trust.ownSite();
    return [{ siteId, caPem: [...caPem], voided: this.voided.list() }, ...this.peers.all().map((peer) => ({ siteId: peer.siteId, caPem: [...peer.caPem], voided: [...peer.voided] }))];
  }

  async #countBarriers(content: VraContent): Promise<void> {
    for (const barrier of content.barriers) {
      const digest = digestOf(barrier);
      const known = this.vpgs.barrier(barrier.vpgId);
      if (known?.digest === digest) continue;
      await this.vpgs.putBarrier(barrier.vpgId, { version: (known?.version ?? 0) + 1, digest });
    }
  }

  async #bringTo(vra: VraRecord, content: VraContent): Promise<void> {
    const status = this.link.status(vra.vraId);
    const state = desiredState(content, { revision: 0, versionOf: (vpgId) => this.vpgs.barrier(vpgId)?.version ?? 1 });
    const digest = digestOf(state);
    const shown = status?.revision ?? -1;
    let { revision } = vra;
    // A VRA ahead of us was told by a database that has since been replaced: go on above it.
    const newest = Math.max(revision, shown < SHOWN_REVISION_MAX ? shown : -1);
    if (digest !== vra.stateDigest || newest > revision) {
      const next = newest + 1;
      await this.vras.update(vra.vraId, (current) => ({ ...current, revision: next, stateDigest: digest }));
      revision = next;
    }
    this.#custodyOf(vra.vraId).told(revision, content.attachedVms.map(({ vmId }) => vmId));
    if (status && shown !== revision) await this.link.applyState(vra.vraId, { ...state, revision });
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}
