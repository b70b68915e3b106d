import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import {
  CataloguePutV1, PairingConfirmV1, PairingRedeemV1, PeerCheckpointInsertV1, PeerForceSyncV1, PeerSettleV1, PeerTakeReverseV1, PeerTrustRenewV1, PeerUnpairV1, speakerOn, subjectOf, VmPowerV1, VpgActV1, VpgPutV1,
} from '@tidemark/contracts';
import { ControlBus, ControlRefusal } from '@tidemark/nest';
import { ActAudit } from '../audit/act-audit.js';
import { currentNote } from '../audit/audit-note.js';
import { namedBySite } from '../audit/redaction.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Database } from '../persistence/database.js';
import { SiteInventoryService } from '../site/site-inventory.service.js';
import { isTaskIdOf } from '../task/task-id.js';
import { CatalogueCopies } from '../vpg/catalogue-copies.service.js';
import { ProtectedSite } from '../vpg/protected-site.service.js';
import { RecoveryActions } from '../vpg/recovery-actions.service.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { SITE_BUS } from '../vra/vra-link.service.js';
import { PairingAcceptance } from './pairing-acceptance.service.js';
import { PairingService } from './pairing.service.js';
import { peerAct, redemptionAct } from './peer-act.js';
import { PeerTrust } from './peer-trust.service.js';
import { PeerStore, type PairingState } from './peer.store.js';

type Handler<T, R> = (message: T, siteId: string) => Promise<R> | R;

interface Terms {
  readonly states?: readonly PairingState[];
  /** It changes nothing, or only a copy of what the other site has: no entry in the audit. */
  readonly isUnrecorded?: boolean;
  /** It comes again and again, and changes something now and then: its handler says so before it does. */
  readonly isRepeated?: boolean;
}

const WHILE_PAIRING: Terms = { states: ['pairing', 'paired'] };
const UNRECORDED: Terms = { isUnrecorded: true };
const REPEATED: Terms = { isRepeated: true };

/** Answers what paired sites ask of this one. Who asks is what the subject says; of VPGs a site reaches those that it shares with this one. */
@Injectable()
export class PeerResponder implements OnModuleInit {
  constructor(
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    private readonly database: Database,
    private readonly peers: PeerStore,
    private readonly pairing: PairingService,
    private readonly acceptance: PairingAcceptance,
    private readonly trust: PeerTrust,
    private readonly sites: SiteInventoryService,
    private readonly vpgs: VpgStore,
    private readonly protectedSite: ProtectedSite,
    private readonly actions: RecoveryActions,
    private readonly audit: ActAudit,
    private readonly copies: CatalogueCopies,
  ) {}

  onModuleInit(): void {
    this.#answerPairing();
    this.#answer('inventory.get', null, () => this.sites.own(), UNRECORDED);
    this.#answer('vpg.put', VpgPutV1, async ({ record }, siteId) => {
      if (record.definition.recoverySiteId !== siteId) throw new ControlRefusal('ZVM_CONFLICT', 'only the recovery site decides over a VPG');
      await this.#noting(record.definition.vpgId, async () => await this.protectedSite.put(record, siteId));
      return {};
    }, REPEATED);
    this.#answer('vpg.act', VpgActV1, async ({ taskId, action, initiatedBy, vpgId, input }, siteId) => {
      this.#assertShared(vpgId, siteId);
      const asked = this.#asked(siteId, { taskId, initiatedBy });
      return { taskId: await this.actions.run({ action, vpgId: vpgId, input, ...asked, askedBySiteId: siteId }) };
    });
    this.#answer('vpg.takeReverse', PeerTakeReverseV1, async ({ record, taskId, initiatedBy }, siteId) => {
      if (record.definition.recoverySiteId !== siteId) throw new ControlRefusal('ZVM_CONFLICT', 'only the site that has failed a VPG over hands it over');
      this.#assertShared(record.definition.vpgId, siteId);
      return { taskId: await this.actions.takeReverse(record, this.#asked(siteId, { taskId, initiatedBy })) };
    });
    this.#answerOf('checkpoint.insert', PeerCheckpointInsertV1, async ({ vpgId, tag, isApplicationConsistent = false }) => await this.protectedSite.insertCheckpoint({ vpgId, tag, isApplicationConsistent }));
    this.#answerOf('vpg.settle', PeerSettleV1, async ({ vpgId, checkpointId }) => ({ vms: await this.protectedSite.settle(vpgId, checkpointId) }));
    this.#answerOf('vpg.forceSync', PeerForceSyncV1, async ({ vpgId }) => {
      await this.protectedSite.forceSync(vpgId);
      return {};
    });
    this.#answerOf('catalogue.put', CataloguePutV1, async (message) => await this.copies.put(message), UNRECORDED);
    this.#answerOf('vm.power', VmPowerV1, async (message) => await this.protectedSite.power(message));
  }

  #answerPairing(): void {
    this.bus.respond(this.#subject('pairing.redeem'), PairingRedeemV1, async (message, subject) => {
      this.database.assertLoaded();
      const speaker = speakerOn(subject);
      if (speaker?.kind !== 'pairing') throw new ControlRefusal('ZVM_FORBIDDEN', 'a token is redeemed by its own user');
      return await this.audit.record(redemptionAct(speaker.tokenId, message), async () => await this.acceptance.redeem(speaker.tokenId, message));
    });
    this.#answer('pairing.confirm', PairingConfirmV1, async ({ userJwt }, siteId) => await this.acceptance.confirm(siteId, userJwt), WHILE_PAIRING);
    this.#answer('pairing.seal', null, async (_message, siteId) => await this.acceptance.seal(siteId), WHILE_PAIRING);
    this.#answer('peer.unpair', PeerUnpairV1, async ({ isTargetKept }, siteId) => {
      await this.pairing.partWith(siteId, { isTargetKept });
      return {};
    }, WHILE_PAIRING);
    this.#answer('trust.renew', PeerTrustRenewV1, async (message, siteId) => await this.trust.renewFor(siteId, message), REPEATED);
  }

  /** Of one VPG that protects VMs of this site into the asking one: any other hears what it would hear if there were none. */
  #answerOf<T extends { readonly vpgId: string }, R>(topic: string, type: new () => T, handle: Handler<T, R>, terms: Terms = {}): void {
    this.#answer(topic, type, async (message, siteId) => {
      const { protectedSiteId, recoverySiteId } = this.vpgs.find(message.vpgId)?.definition ?? {};
      if (protectedSiteId !== this.config.siteId || recoverySiteId !== siteId) throw notShared(message.vpgId);
      return await handle(message, siteId);
    }, terms);
  }

  /** The other site puts its record again until it sees it here. */
  async #noting(vpgId: string, put: () => Promise<void>): Promise<void> {
    const before = this.vpgs.find(vpgId);
    await put();
    const after = this.vpgs.find(vpgId);
    const note = currentNote();
    if (note && before === after) note.isNothing = true;
    else note?.changed(before ?? null, after ?? null);
  }

  /** Of a VPG of which nothing is known the action itself says whether it may begin. */
  #assertShared(vpgId: string, siteId: string): void {
    const vpg = this.vpgs.find(vpgId);
    if (!vpg || vpg.definition.protectedSiteId === siteId || vpg.definition.recoverySiteId === siteId) return;
    throw notShared(vpgId);
  }

  /** Under an id of its own making, by somebody there: what it starts here is nobody's of this site. */
  #asked(siteId: string, { taskId, initiatedBy }: { readonly taskId: string; readonly initiatedBy: string }): { readonly taskId: string; readonly initiatedBy: string } {
    if (!isTaskIdOf(taskId, siteId)) throw new ControlRefusal('ZVM_INVALID', `a task that site ${siteId} asks for has an id that begins with that site's`);
    return { taskId, initiatedBy: namedBySite(this.peers.get(siteId).name, initiatedBy) };
  }

  #answer<T extends object, R>(topic: string, type: (new () => T) | null, handle: Handler<T, R>, { states = ['paired'], isUnrecorded = false, isRepeated = false }: Terms = {}): void {
    this.bus.respond<T, R>(this.#subject(topic), type, async (message, subject) => {
      this.database.assertLoaded();
      const speaker = speakerOn(subject);
      const siteId = speaker?.kind === 'peer' ? speaker.siteId : '';
      const peer = this.peers.find(siteId);
      const answer = async (): Promise<R> => {
        if (!peer || !states.includes(peer.state)) {
          throw new ControlRefusal('PEER_NOT_PAIRED', `this site is not paired with ${this.config.siteName}; pair them anew`);
        }
        return await handle(message, peer.siteId);
      };
      return isUnrecorded ? await answer() : await this.audit.record({ ...peerAct(topic, { siteId, name: peer?.name, message }), isRepeated }, answer);
    });
  }

  #subject(topic: string): string {
    return subjectOf({ siteId: this.config.siteId, service: 'zvm', instanceId: '*', channel: 'control', topic });
  }
}

const notShared = (vpgId: string): ControlRefusal => new ControlRefusal('ZVM_NOT_FOUND', `VPG ${vpgId} does not exist`);
