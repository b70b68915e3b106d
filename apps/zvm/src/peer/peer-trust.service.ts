import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { type PeerOwnTrustV1, type PeerTrustRenewV1, type PeerTrustV1, UNAWARE_VRAS_MAX } from '@tidemark/contracts';
import { peerRights } from '@tidemark/nest';
import { fingerprint, LEAF_LIFETIME_MS, readCaCertificates, TrustError } from '@tidemark/trust';
import { AuditLog } from '../audit/audit-log.js';
import { currentNote } from '../audit/audit-note.js';
import { changesBetween } from '../audit/redaction.js';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { VoidedComponentStore } from '../enrolment/voided-component.store.js';
import { invalid, ZvmError } from '../errors.js';
import { NatsUsers } from '../nats/nats-users.service.js';
import { SiteTrust } from '../trust/site-trust.js';
import { VraBeliefs } from '../vra/vra-beliefs.service.js';
import { PeerKeys } from './peer-keys.js';
import { PeerLinkService } from './peer-link.service.js';
import { type PeerSite, PeerStore } from './peer.store.js';

const LOOK_MS = 5000;
/** A site that was shut out while it was away is told for so long; then its own broker connection has told it long since. */
const FAREWELL_MS = 30 * 24 * 3_600_000;

interface Told {
  readonly digest: string;
  /** Its VRAs that did not believe it yet when it answered. */
  readonly unawareVras: readonly string[];
}

/** Keeps what paired sites believe of each other fresh: CA certificates, voided VRAs, users, and the end of a pairing that could not be told at once. */
@Injectable()
export class PeerTrust implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #loop = new Background('peer-trust', LOOK_MS, () => this.#lookAtAll());
  /** What each peer has confirmed of {@link own} since this ZVM started. */
  readonly #told = new Map<string, Told>();

  constructor(
    private readonly peers: PeerStore,
    private readonly keys: PeerKeys,
    private readonly link: PeerLinkService,
    private readonly users: NatsUsers,
    private readonly clock: Clock,
    private readonly trust: SiteTrust,
    private readonly beliefs: VraBeliefs,
    private readonly voided: VoidedComponentStore,
    private readonly audit: AuditLog,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.voided.onChange(() => this.#loop.poke());
    this.#loop.start();
  }

  poke(): void {
    this.#loop.poke();
  }

  /** A user at this site's broker for a paired one. */
  async issueUser(siteId: string, publicKey: string): Promise<string> {
    const notAfterMs = this.clock.nowMs() + LEAF_LIFETIME_MS;
    try {
      return await this.users.issue({ owner: { kind: 'peer', id: siteId }, publicKey, rights: peerRights(this.config.siteId, siteId), notAfterMs });
    } catch (error) {
      throw error instanceof TrustError && error.code === 'TRUST_REQUEST' ? invalid(error.message) : error;
    }
  }

  /** What this site believes of its own: peers are told it whenever it changes. */
  get #own(): PeerOwnTrustV1 {
    return { caPem: [...this.trust.ca.trustedPem], voided: this.voided.list() };
  }

  /** A paired site tells what it believes of its own today, and asks for its next user when it is time. */
  async renewFor(siteId: string, { caPem, voided, natsPublicKey }: PeerTrustRenewV1): Promise<PeerTrustV1> {
    const note = currentNote();
    const isNews = this.#isNews(siteId, { caPem, voided });
    if (note && !isNews && natsPublicKey === undefined) note.isNothing = true;
    else await note?.begin();
    if (isNews) note?.changed(...(await this.#learn(siteId, { caPem, voided })));
    const answer = { ...this.#own, unawareVras: this.beliefs.missing(caPem).slice(0, UNAWARE_VRAS_MAX).map(({ name }) => name) };
    return natsPublicKey === undefined ? answer : { ...answer, userJwt: await this.issueUser(siteId, natsPublicKey) };
  }

  #isNews(siteId: string, { caPem, voided }: PeerOwnTrustV1): boolean {
    const site = this.peers.find(siteId);
    return site !== undefined && JSON.stringify([site.caPem, site.voided]) !== JSON.stringify([caPem, voided]);
  }

  /** @returns what the audit shows of it, before and after */
  async #learn(siteId: string, { caPem, voided }: PeerOwnTrustV1): Promise<[object, object]> {
    assertCa(caPem, siteId);
    const before = shown(this.peers.get(siteId));
    await this.peers.update(siteId, { caPem, voided });
    return [before, shown({ caPem, voided })];
  }

  async #lookAtAll(): Promise<void> {
    if (!this.peers.isLoaded || !this.voided.isLoaded) return;
    for (const site of this.peers.everyone()) {
      // It was let go of before the database was brought back from a backup.
      if (site.state === 'parting' && !this.keys.has(site.siteId)) await this.#forget(site.siteId);
      const problem = this.link.problemWith(site.siteId);
      if (problem !== undefined) {
        const isShutOutThere = problem.includes('refuses this user');
        if (site.state === 'parting' && (isShutOutThere || this.clock.nowMs() - site.pairedAtMs > FAREWELL_MS)) await this.#forget(site.siteId);
        continue;
      }
      if (site.state === 'parting') await this.sayFarewell(site.siteId);
      if (site.state === 'paired') await this.#renewAt(site.siteId);
    }
  }

  /** Who there does not believe yet, or has not said so, what this site believes of its own today; in words. */
  waitsFor({ siteId, name }: Pick<PeerSite, 'siteId' | 'name'>): string[] {
    const told = this.#told.get(siteId);
    if (told?.digest !== JSON.stringify(this.#own)) return [`site '${name}'`];
    return told.unawareVras.map((vra) => `VRA '${vra}' of site '${name}'`);
  }

  async #renewAt(siteId: string): Promise<void> {
    const own = this.#own;
    const digest = JSON.stringify(own);
    const isDue = this.keys.isRenewalDue(siteId, this.clock.nowMs());
    const told = this.#told.get(siteId);
    if (!isDue && told?.digest === digest && told.unawareVras.length === 0) return;
    const key = isDue ? await this.keys.nextKey(siteId) : undefined;
    const { caPem, voided, unawareVras, userJwt } = await this.link.ask(siteId, 'trust.renew', { ...own, ...(key ? { natsPublicKey: key.publicKey } : {}) });
    const site = { user: `site ${this.peers.get(siteId).name}`, method: 'Peer', subject: siteId } as const;
    if (this.#isNews(siteId, { caPem, voided })) {
      const act = { ...site, action: 'peer trust.answered', entities: [`site:${siteId}`] };
      await this.audit.recordOwn(act, async () => ({ changes: changesBetween(...(await this.#learn(siteId, { caPem, voided }))) }));
    }
    if (key && userJwt !== undefined) await this.keys.grant(siteId, userJwt);
    this.#told.set(siteId, { digest, unawareVras });
  }

  /** Tells a site that was shut out, unless it has told us. @returns whether it knows */
  async sayFarewell(siteId: string, { isTargetKept = true, isTold = false }: { readonly isTargetKept?: boolean; readonly isTold?: boolean } = {}): Promise<boolean> {
    if (this.peers.findAny(siteId)?.state === 'parting' && !isTold) {
      try {
        await this.link.ask(siteId, 'peer.unpair', { isTargetKept });
      } catch (error) {
        if (error instanceof ZvmError && error.isRetryable) return false;
        // Refused: it does not know this site any more either.
      }
    }
    await this.#forget(siteId);
    return true;
  }

  /** Only one that is still parting: it may have been paired anew meanwhile. */
  async #forget(siteId: string): Promise<void> {
    if (this.peers.findAny(siteId)?.state !== 'parting') return;
    await this.peers.remove(siteId);
    await this.keys.remove(siteId);
    this.#told.delete(siteId);
  }

  /** Shut out from now on: its user is void, its connections are cut, its CA is no more believed by anyone here; it is told as soon as it can be. */
  async shutOut(siteId: string): Promise<void> {
    await this.trust.removals.noteParted(siteId, this.clock.nowMs());
    // First the state: what a connection that is about to be cut still asks is refused.
    await this.peers.update(siteId, { state: 'parting', pairedAtMs: this.clock.nowMs() });
    await this.users.revoke({ kind: 'peer', id: siteId });
    this.#told.delete(siteId);
    if (!this.keys.has(siteId)) await this.#forget(siteId);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}

/** As the audit shows it: SHA-256 of each certificate. */
const shown = ({ caPem, voided }: Pick<PeerSite, 'caPem' | 'voided'>): object => ({ ca: caPem.map(fingerprint), voided });

/** @throws ZvmError ZVM_INVALID for what is not the CA of that very site */
export function assertCa(caPem: readonly string[], siteId: string): void {
  try {
    for (const pem of caPem) readCaCertificates(pem, `the CA of site ${siteId}`, siteId);
  } catch (error) {
    throw error instanceof TrustError ? invalid(error.message) : error;
  }
}
