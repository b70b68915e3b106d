import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { SiteCardV1 } from '@tidemark/contracts';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, invalid, ZvmError } from '../errors.js';
import type { OperationKind } from '../operation/operation-kind.js';
import { OperationService, pause } from '../operation/operation.service.js';
import { CatalogueStore } from '../vpg/catalogue.store.js';
import { RecoverySite } from '../vpg/recovery-site.service.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { PeerLinkService } from './peer-link.service.js';
import { PeerStore, type PeerSite } from './peer.store.js';

const FIRST_NEWS_MS = 20_000;

interface PairInput {
  readonly site: SiteCardV1;
}

interface UnpairInput {
  readonly siteId: string;
  readonly name: string;
  readonly isTargetKept: boolean;
}

/** Makes and ends pairings. */
@Injectable()
export class PairingService implements OnModuleInit {
  constructor(
    private readonly peers: PeerStore,
    private readonly link: PeerLinkService,
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly catalogues: CatalogueStore,
    private readonly recovery: RecoverySite,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#pairKind());
    this.operations.register(this.#unpairKind());
  }

  /** Answers the task id. @throws ZvmError ZVM_INVALID when no site answers there, ZVM_CONFLICT when it is paired already */
  async pair(address: string, port: number, initiatedBy: string): Promise<string> {
    const card = await this.link.hello(address, port);
    if (card.siteId === this.config.siteId) throw invalid('a site cannot be paired with itself');
    if (this.peers.find(card.siteId)) throw conflict(`site ${card.name} is paired with this one already`);
    const input: PairInput = { site: { ...card, address, port } };
    return await this.operations.begin({ kind: 'pair', input, vpgId: null, initiatedBy, related: { siteIds: [card.siteId] } });
  }

  #pairKind(): OperationKind<PairInput> {
    return {
      kind: 'pair',
      taskType: 'Pair',
      isExclusive: false,
      done: ({ input }) => `paired with site ${input.site.name}`,
      steps: {
        askPeer: {
          do: async ({ input }) => {
            await this.link.askToPair(input.site);
          },
        },
        recordPeer: {
          do: async ({ input }) => await this.peers.put({ ...input.site, pairedAtMs: this.clock.nowMs() }),
          undo: async ({ input }) => {
            await this.link.ask(input.site.siteId, 'peer.unpair', { isTargetKept: true }).catch(() => undefined);
            await this.peers.remove(input.site.siteId);
          },
        },
        awaitPeer: { do: async ({ input, signal }) => await this.#untilHeard(input.site, signal) },
      },
    };
  }

  async #untilHeard(site: SiteCardV1, signal: AbortSignal): Promise<void> {
    const until = this.clock.monotonicMs() + FIRST_NEWS_MS;
    while (!this.link.isAlive(site.siteId) && !signal.aborted) {
      if (this.clock.monotonicMs() > until) {
        throw conflict(`site ${site.name} accepted, but nothing is heard from it: can it reach ${this.link.card.address}:${this.link.card.port}?`);
      }
      await pause(200, signal);
    }
  }

  /** The other site asks: this one accepts when it reaches that site in turn. */
  async accept(site: SiteCardV1): Promise<SiteCardV1> {
    if (site.siteId === this.config.siteId) throw invalid('a site cannot be paired with itself');
    const found = await this.link.hello(site.address, site.port);
    if (found.siteId !== site.siteId) throw invalid(`at ${site.address}:${site.port} answers site ${found.name}, not ${site.name}`);
    await this.peers.put({ ...site, pairedAtMs: this.clock.nowMs() });
    return this.link.card;
  }

  /** Answers the task id. @throws ZvmError ZVM_CONFLICT while something is under way on one of their VPGs */
  async unpair(siteId: string, { isTargetKept }: { readonly isTargetKept: boolean }, initiatedBy: string): Promise<string> {
    const peer = this.peers.get(siteId);
    for (const vpg of this.#between(peer)) {
      if (vpg.failover || vpg.failoverTest) throw conflict(`VPG '${vpg.definition.name}' is failing over or being tested; end that first`);
      this.operations.assertFree(vpg.definition.vpgId, true);
    }
    const input: UnpairInput = { siteId: peer.siteId, name: peer.name, isTargetKept };
    return await this.operations.begin({ kind: 'unpair', input, vpgId: null, initiatedBy, related: { siteIds: [peer.siteId] } });
  }

  #between(peer: PeerSite) {
    return this.vpgs.all().filter(({ definition }) => definition.protectedSiteId === peer.siteId || definition.recoverySiteId === peer.siteId);
  }

  #unpairKind(): OperationKind<UnpairInput> {
    return {
      kind: 'unpair',
      taskType: 'Unpair',
      isExclusive: false,
      done: ({ input, notes }) => `unpaired from site ${input.name}${notes['isPeerTold'] === false ? '; it could not be told and must be unpaired there as well' : ''}`,
      steps: {
        removePairVpgs: { do: async ({ input }) => await this.#dropVpgs(input) },
        tellUnpaired: {
          do: async ({ input }) => {
            if (!this.peers.find(input.siteId)) return { isPeerTold: true };
            try {
              await this.link.ask(input.siteId, 'peer.unpair', { isTargetKept: input.isTargetKept });
              return { isPeerTold: true };
            } catch (error) {
              if (error instanceof ZvmError) return { isPeerTold: false };
              throw error;
            }
          },
        },
        forgetPeer: { do: async ({ input }) => await this.peers.remove(input.siteId) },
      },
    };
  }

  /** The other site ends the pairing. */
  async partWith(siteId: string, { isTargetKept }: { readonly isTargetKept: boolean }): Promise<void> {
    const peer = this.peers.find(siteId);
    if (!peer) return;
    await this.#dropVpgs({ siteId, name: peer.name, isTargetKept });
    await this.peers.remove(siteId);
  }

  async #dropVpgs({ siteId, isTargetKept }: UnpairInput): Promise<void> {
    const peer = this.peers.find(siteId);
    if (!peer) return;
    for (const { definition, state } of this.#between(peer)) {
      const isRecoveringHere = definition.recoverySiteId === this.config.siteId;
      // A failed-over VPG has no journals any more, and its recovered VMs own the volumes.
      if (isRecoveringHere && state !== 'needsConfiguration' && state !== 'reversing' && state !== 'removed') {
        await this.recovery.removeRecoveries(definition, { isMirrorKept: isTargetKept, isForced: true });
      }
      await this.vpgs.forget(definition.vpgId);
      this.catalogues.forget(definition.vpgId);
    }
  }
}
