import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { IdentityStatusV1 } from '@tidemark/contracts';
import { fingerprint, identityMarks } from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import { AuditLog } from '../audit/audit-log.js';
import { currentNote } from '../audit/audit-note.js';
import { changesBetween, plainText } from '../audit/redaction.js';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, messageOf } from '../errors.js';
import { EventService } from '../event/event.service.js';
import { NatsUsers } from '../nats/nats-users.service.js';
import { PeerTrust } from '../peer/peer-trust.service.js';
import { PeerStore } from '../peer/peer.store.js';
import { VbaLinkService } from '../vba/vba-link.service.js';
import type { VbaRecord } from '../vba/vba-model.js';
import { VbaStore } from '../vba/vba.store.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { VraStateService } from '../vra/vra-state.service.js';
import { VraStore } from '../vra/vra.store.js';
import { type CaFollower, rotationView } from './ca-rotation.js';
import { servedByNats, servedByPostgres, servedByTls } from './served-certificate.js';
import { SiteTrust } from './site-trust.js';
import { TrustService } from './trust.service.js';

const LOOK_MS = 2000;

interface Appliance {
  readonly name: string;
  readonly marks: IdentityStatusV1 | undefined;
  readonly renew: () => Promise<void>;
}

/**
 * Brings the site from one CA to the next without a moment in which somebody is not believed. What has been done stands in the CA's own files; who has followed
 * is asked, not remembered: heartbeats of VRAs, answers of paired sites since this start, the certificate that NATS shows. So a ZVM that was killed goes on.
 */
@Injectable()
export class CaRotation implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger('ca-rotation');
  readonly #loop = new Background('ca-rotation', LOOK_MS, () => this.look());
  #waitsFor: readonly string[] = [];

  constructor(
    private readonly trust: SiteTrust,
    private readonly own: TrustService,
    private readonly vras: VraStore,
    private readonly vraLink: VraLinkService,
    private readonly vraState: VraStateService,
    private readonly vbas: VbaStore,
    private readonly vbaLink: VbaLinkService,
    private readonly natsUsers: NatsUsers,
    private readonly peers: PeerStore,
    private readonly peerTrust: PeerTrust,
    private readonly events: EventService,
    private readonly clock: Clock,
    private readonly audit: AuditLog,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.#loop.start();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }

  /** Whom the next step waits for, in words; as of the last look. */
  get waitsFor(): readonly string[] {
    return this.trust.phase === 'steady' ? [] : this.#waitsFor;
  }

  /** @throws ZvmError ZVM_CONFLICT while one rotates */
  async begin(): Promise<void> {
    if (this.trust.phase !== 'steady') throw conflict(`the CA is being rotated already; it waits for ${this.#waitsFor.join(', ') || 'its next step'}`);
    const before = this.#shown();
    await this.trust.ca.announceNext();
    currentNote()?.changed(before, this.#shown());
    await this.#spread('The next CA of the site is made, and made known.');
  }

  /** One step, if all have followed the one before. Runs by itself. */
  async look(): Promise<void> {
    const { phase } = this.trust;
    if (!this.vras.isLoaded || !this.vbas.isLoaded || !this.peers.isLoaded) return;
    if (phase === 'steady') return await this.#renewVbas();
    const untilOldEndsMs = this.trust.ca.oldestNotAfterMs - this.clock.nowMs();
    const { step, waitsFor } = rotationView({ phase, untilOldEndsMs }, await this.#followers());
    this.#waitsFor = waitsFor;
    if (step !== undefined && waitsFor.length > 0) this.#log.warn(`the old CA ends: the rotation waits no longer for ${waitsFor.join(', ')}`);
    switch (step) {
      case 'switch':
        await this.#recorded('ca.switched', async () => await this.trust.ca.switchToNext());
        return await this.#spread('The new CA of the site signs; certificates are being renewed.');
      case 'retire':
        await this.#recorded('ca.retired', async () => await this.trust.ca.retireOld());
        return await this.#spread('The old CA of the site is no longer trusted: the rotation is complete.');
      case undefined: return await this.#urge();
    }
  }

  /** As the audit shows the CA: SHA-256 of its certificates. */
  #shown(): object {
    const { signerPem, trustedPem } = this.trust.ca;
    return { signer: fingerprint(signerPem), trusted: trustedPem.map(fingerprint) };
  }

  async #recorded(action: string, step: () => Promise<void>): Promise<void> {
    const message = this.#waitsFor.length > 0 ? plainText(`it did not wait any longer for ${this.#waitsFor.join(', ')}`) : null;
    const before = this.#shown();
    await this.audit.recordOwn({ action, entities: [`site:${this.config.siteId}`], message }, async () => {
      await step();
      return { changes: changesBetween(before, this.#shown()) };
    });
  }

  /** Everyone who looks at files, states or answers is told at once; all of it happens again by itself if this is cut off. */
  async #spread(description: string): Promise<void> {
    this.#log.log(description);
    await this.trust.publish();
    await this.own.look();
    this.vraState.poke();
    this.peerTrust.poke();
    await this.events.record({ type: 'SetAdvancedSiteSettings', category: 'Events', entity: 'Site', userName: 'System', isSuccess: true, vpgIds: [], description })
      .catch((error: unknown) => this.#log.warn(`no event was recorded: ${messageOf(error)}`));
  }

  async #followers(): Promise<CaFollower[]> {
    const newest = fingerprint(this.trust.ca.newestPem);
    const appliances = (await this.#appliances()).map(({ name, marks }): CaFollower => ({ name, trustsNewest: marks?.trusts.includes(newest) === true, usesNewest: marks?.signedBy === newest }));
    // A peer shows nothing that this CA has signed. One with which this site is being paired was given the CA of then: it hears of the next one as soon as the pairing stands. One that parts is out.
    const peers = this.peers.all().flatMap((peer) => this.peerTrust.waitsFor(peer)).map((name): CaFollower => ({ name, trustsNewest: false, usesNewest: true }));
    const servers = this.trust.phase === 'switched' ? await this.#servers() : [];
    return [...this.#ownFiles(newest), ...appliances, ...peers, ...servers];
  }

  /** A full disk, say, keeps them as they were. */
  #ownFiles(newest: string): CaFollower[] {
    return [...this.trust.identities()].map(([role, identity]) => {
      const { trusts, signedBy } = identityMarks(identity.current(), this.config.siteId, []);
      return { name: `this ZVM's own files trust/${role}`, trustsNewest: trusts.includes(newest), usesNewest: signedBy === newest };
    });
  }

  /** With what their last heartbeat said, if it is recent. A VBA without a user has not redeemed its token: when it does it gets the CA of then. */
  async #appliances(): Promise<Appliance[]> {
    const vras = this.vras.all().map(({ vraId, name }): Appliance => ({ name: `VRA '${name}'`, marks: this.vraLink.status(vraId)?.identity, renew: async () => await this.vraLink.renewIdentity(vraId) }));
    const enrolled = await Promise.all(this.vbas.all().map(async (vba) => ((await this.natsUsers.hasOthers({ kind: 'vba', id: vba.vbaId }, '')) ? [vba] : [])));
    return [...vras, ...enrolled.flat().map((vba) => this.#vba(vba))];
  }

  #vba({ vbaId, name }: Pick<VbaRecord, 'vbaId' | 'name'>): Appliance {
    return { name: `VBA '${name}'`, marks: this.vbaLink.isAlive(vbaId) ? this.vbaLink.lastStatus(vbaId)?.identity : undefined, renew: async () => await this.vbaLink.renewIdentity(vbaId) };
  }

  /** Servers that read their certificate from the trust folder: what they show is looked at. */
  async #servers(): Promise<CaFollower[]> {
    const { natsUrl, hypervisor, databaseUrl } = this.config;
    const own = this.trust.identities();
    const probes: [string, Promise<X509Certificate>][] = [['the NATS server', servedByNats(natsUrl)]];
    // Over a socket it shows none.
    if (own.has('postgres') && new URL(databaseUrl).searchParams.has('sslmode')) probes.push(['PostgreSQL (SELECT pg_reload_conf() has it read its own again)', servedByPostgres(databaseUrl)]);
    if (own.has('hypervisor')) probes.push(['the hypervisor manager', servedByTls(hypervisor.slice(hypervisor.indexOf(':') + 1))]);
    return await Promise.all(probes.map(async ([name, probe]) => ({ name, trustsNewest: true, usesNewest: await this.#isNew(name, probe) })));
  }

  async #isNew(name: string, probe: Promise<X509Certificate>): Promise<boolean> {
    try {
      return (await probe).verify(new X509Certificate(this.trust.ca.newestPem).publicKey);
    } catch (error) {
      this.#log.warn(`${name} does not show its certificate: ${messageOf(error)}`);
      return false;
    }
  }

  async #urge(): Promise<void> {
    await this.own.look();
    await this.#renewVbas();
    if (this.trust.phase !== 'switched') return;
    const newest = fingerprint(this.trust.ca.newestPem);
    await this.#renew((await this.#appliances()).filter(({ marks }) => (marks?.signedBy ?? newest) !== newest));
  }

  /** No state tells a VBA which CAs there are: they come with its certificate. So it gets another one whenever it believes others than those of today. */
  async #renewVbas(): Promise<void> {
    const today = this.trust.ca.trustedPem.map(fingerprint);
    const believesOthers = ({ marks }: Appliance): boolean => marks !== undefined && (marks.trusts.length !== today.length || !today.every((print) => marks.trusts.includes(print)));
    await this.#renew(this.vbas.all().map((vba) => this.#vba(vba)).filter(believesOthers));
  }

  async #renew(appliances: readonly Appliance[]): Promise<void> {
    await Promise.all(appliances.map(({ name, renew }) => renew().catch((error: unknown) => this.#log.warn(`${name}: ${messageOf(error)}`))));
  }
}
