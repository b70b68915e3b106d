import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import {
  CataloguePutV1, FromSiteV1, PeerCheckpointInsertV1, PeerForceSyncV1, PeerPairV1, PeerTakeReverseV1, PeerUnpairV1, type SiteCardV1, subjectOf, UNKNOWN_SITE, VmPowerV1, VpgActV1, VpgPutV1,
} from '@tidemark/contracts';
import { ControlBus, ControlRefusal } from '@tidemark/nest';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { SiteInventoryService } from '../site/site-inventory.service.js';
import { ProtectedSite } from '../vpg/protected-site.service.js';
import { RecoveryActions } from '../vpg/recovery-actions.service.js';
import { SITE_BUS } from '../vra/vra-link.service.js';
import { PairingService } from './pairing.service.js';
import { PeerLinkService } from './peer-link.service.js';
import { PeerStore } from './peer.store.js';

/** Answers what paired sites ask of this one. */
@Injectable()
export class PeerResponder implements OnModuleInit {
  constructor(
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    private readonly peers: PeerStore,
    private readonly link: PeerLinkService,
    private readonly pairing: PairingService,
    private readonly sites: SiteInventoryService,
    private readonly protectedSite: ProtectedSite,
    private readonly actions: RecoveryActions,
  ) {}

  onModuleInit(): void {
    // The only two that a site may send before it is paired.
    this.bus.respond(this.#subject(UNKNOWN_SITE, 'peer.hello'), null, (): SiteCardV1 => this.link.card);
    this.bus.respond(this.#subject(this.config.siteId, 'peer.pair'), PeerPairV1, async ({ site }) => await this.pairing.accept(site));

    this.#answer('peer.unpair', PeerUnpairV1, async ({ fromSiteId, isTargetKept }) => {
      await this.pairing.partWith(fromSiteId, { isTargetKept });
      return {};
    });
    this.#answer('inventory.get', FromSiteV1, () => this.sites.own());
    this.#answer('vpg.put', VpgPutV1, async ({ fromSiteId, record }) => {
      if (record.definition.recoverySiteId !== fromSiteId) throw new ControlRefusal('ZVM_CONFLICT', 'only the recovery site decides over a VPG');
      await this.protectedSite.put(record);
      return {};
    });
    this.#answer('vpg.act', VpgActV1, async ({ taskId, action, initiatedBy, vpgId, input }) => {
      return { taskId: await this.actions.run({ action, vpgId: vpgId ?? '', input, initiatedBy, taskId }) };
    });
    this.#answer('vpg.takeReverse', PeerTakeReverseV1, async ({ fromSiteId, record, taskId, initiatedBy }) => {
      if (record.definition.recoverySiteId !== fromSiteId) throw new ControlRefusal('ZVM_CONFLICT', 'only the site that has failed a VPG over hands it over');
      return { taskId: await this.actions.takeReverse(record, { taskId, initiatedBy }) };
    });
    this.#answer('checkpoint.insert', PeerCheckpointInsertV1, async ({ vpgId, tag, isApplicationConsistent = false }) => await this.protectedSite.insertCheckpoint({ vpgId, tag, isApplicationConsistent }));
    this.#answer('vpg.forceSync', PeerForceSyncV1, async ({ vpgId }) => {
      await this.protectedSite.forceSync(vpgId);
      return {};
    });
    this.#answer('catalogue.put', CataloguePutV1, async (message) => await this.protectedSite.putCatalogue(message));
    this.#answer('vm.power', VmPowerV1, async (message) => await this.protectedSite.power(message));
  }

  #answer<T extends FromSiteV1, R>(topic: string, type: new () => T, handle: (message: T) => Promise<R> | R): void {
    this.bus.respond(this.#subject(this.config.siteId, topic), type, async (message) => {
      if (!this.peers.find(message.fromSiteId)) throw new ControlRefusal('PEER_NOT_PAIRED', `site ${message.fromSiteId} is not paired with ${this.config.siteName}`);
      return await handle(message);
    });
  }

  #subject(siteId: string, topic: string): string {
    return subjectOf({ siteId, service: 'zvm', instanceId: 'main', channel: 'control', topic });
  }
}
