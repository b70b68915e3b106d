import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { LessThan } from 'typeorm';
import { AuditLog, SYSTEM } from '../audit/audit-log.js';
import { plainText } from '../audit/redaction.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, forbidden } from '../errors.js';
import { EventService } from '../event/event.service.js';
import { PeerStore } from '../peer/peer.store.js';
import { Database } from '../persistence/database.js';
import { VpgConsentEntity } from '../persistence/entities.js';
import type { VpgRecord, VpgState } from './vpg-model.js';
import { VpgStore } from './vpg.store.js';

/** What this site has asked a paired one to protect. */
interface Consent {
  readonly vpgId: string;
  readonly recoverySiteId: string;
  readonly vmIds: readonly string[];
}

interface GivenConsent extends Consent {
  readonly givenAtMs: number;
}

/** A site that was asked may be cut off right after it, and be back with its record only when somebody has mended the line. */
const LIFE_MS = 24 * 3_600_000;
const NAMED_MAX = 20;

/** A VPG comes into being in these; with any other one a lie would stop or fence VMs with its first word. */
const FIRST_STATES: ReadonlySet<VpgState> = new Set(['creating', 'protecting']);

/** Which VPGs a paired site may begin with VMs of this site (ADR 0052): the other site's record alone gives it no right to them. */
@Injectable()
export class VpgConsents implements OnModuleInit {
  readonly #consents = new Map<string, GivenConsent>();
  #isLoaded = false;

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly vpgs: VpgStore,
    private readonly peers: PeerStore,
    private readonly audit: AuditLog,
    private readonly events: EventService,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      for (const { givenAt, ...consent } of await this.#unexpired()) this.#consents.set(consent.vpgId, { ...consent, givenAtMs: givenAt.getTime() });
      this.#isLoaded = true;
    });
  }

  async #unexpired(): Promise<VpgConsentEntity[]> {
    return await this.database.use(async (db) => {
      await db.delete(VpgConsentEntity, { givenAt: LessThan(new Date(this.clock.nowMs() - LIFE_MS)) });
      return await db.find(VpgConsentEntity);
    });
  }

  /** Durable before the other site is asked: its record may be here before its answer, and after a restart. */
  async give({ vpgId, recoverySiteId, vmIds }: Consent): Promise<void> {
    const givenAtMs = this.clock.nowMs();
    const row = { vpgId, recoverySiteId, vmIds: [...vmIds], givenAt: new Date(givenAtMs) };
    await this.database.use((db) => db.upsert(VpgConsentEntity, row, ['vpgId']));
    this.#consents.set(vpgId, { vpgId, recoverySiteId, vmIds, givenAtMs });
  }

  /** The other site has refused, or its record is here, after which the consent counts for nothing. */
  async end(vpgId: string): Promise<void> {
    if (!this.#consents.delete(vpgId)) return;
    await this.database.use((db) => db.delete(VpgConsentEntity, { vpgId }));
  }

  /**
   * To be called before a VPG of which this site knows nothing is stored. What `siteId` begins by itself is in the audit before it is stored: an entry too many after a failed write
   * is better than VMs that leave unseen. @throws ZvmError ZVM_FORBIDDEN, ZVM_CONFLICT saying what stands in the way
   */
  async admit(record: VpgRecord, siteId: string): Promise<void> {
    const { vpgId, name, vms } = record.definition;
    if (!FIRST_STATES.has(record.state)) throw conflict(`site ${this.config.siteName} knows no VPG '${name}', and none begins in state ${record.state}`);
    const consent = this.#consents.get(vpgId);
    if (consent?.recoverySiteId === siteId && this.clock.nowMs() - consent.givenAtMs < LIFE_MS) return assertAskedFor(record, consent);
    if (this.peers.find(siteId)?.canProtect !== true) {
      throw forbidden(
        `site ${this.config.siteName} has not asked for VPG '${name}', and does not let this site protect its VMs by itself: create the VPG at ${this.config.siteName}, ` +
          'or have an administrator there allow it (tidemark let-protect)',
      );
    }
    const taken = vms.find(({ vmId }) => this.#isTaken(vmId, vpgId));
    if (taken) throw forbidden(`VM ${taken.vmId} of site ${this.config.siteName} is in another VPG: only ${this.config.siteName} itself can have it protected by one more; create the VPG there`);
    await this.#recordBegun(record, siteId);
  }

  /** Protected by another VPG, or made here by the recovery of one. */
  #isTaken(vmId: string, vpgId: string): boolean {
    return this.vpgs.visible().some(({ definition, failover, failoverTest }) => {
      if (definition.vpgId === vpgId) return false;
      if (definition.protectedSiteId === this.config.siteId) return definition.vms.some((vm) => vm.vmId === vmId);
      return [...(failover?.vms ?? []), ...(failoverTest?.vms ?? [])].some((vm) => vm.recoveredVmId === vmId);
    });
  }

  async #recordBegun({ definition: { vpgId, name, vms } }: VpgRecord, siteId: string): Promise<void> {
    const site = `site ${this.peers.get(siteId).name}`;
    const more = vms.length > NAMED_MAX ? ` and ${vms.length - NAMED_MAX} more` : '';
    const description = plainText(`${site} begins by itself to protect VMs of this site with VPG '${name}': ${vms.slice(0, NAMED_MAX).map(({ vmId }) => vmId).join(', ')}${more}`);
    await this.audit.append({ ...SYSTEM, user: plainText(site), method: 'Peer', subject: siteId, action: 'vpg.begun', entities: [`vpg:${vpgId}`, `site:${siteId}`], result: 'Done', message: description });
    await this.events.record({ type: 'ProtectedByPeer', category: 'Events', entity: 'VPG', description, userName: site, isSuccess: true, vpgIds: [vpgId] });
  }
}

function assertAskedFor({ definition: { name, vms } }: VpgRecord, { vmIds }: Consent): void {
  const stranger = vms.find(({ vmId }) => !vmIds.includes(vmId));
  if (stranger) throw forbidden(`VM ${stranger.vmId} is not among those that VPG '${name}' was asked to protect`);
}
