import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { PairingGrantV1, PairingRedeemV1 } from '@tidemark/contracts';
import { pairingRights } from '@tidemark/nest';
import { formatToken, makeNatsKey } from '@tidemark/trust';
import { createHash } from 'node:crypto';
import { AuditLog } from '../audit/audit-log.js';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { plainText } from '../audit/redaction.js';
import { conflict, invalid } from '../errors.js';
import type { MadeToken } from '../enrolment/enrolment.service.js';
import { TrustTokenStore } from '../enrolment/trust-token.store.js';
import { NatsUsers } from '../nats/nats-users.service.js';
import { OperationService } from '../operation/operation.service.js';
import { SiteTrust } from '../trust/site-trust.js';
import { assertCompatible } from './compatible.js';
import { PeerKeys } from './peer-keys.js';
import { PeerLinkService } from './peer-link.service.js';
import { assertCa, PeerTrust } from './peer-trust.service.js';
import { PeerStore } from './peer.store.js';

const TOKEN_LIFETIME_MS = 3_600_000;
/** A site that has redeemed a token and is not heard of any more is let go of after this time. */
const PAIRING_MS_MAX = 10 * 60_000;
const LOOK_MS = 10_000;

/**
 * The half of a pairing that is done by the site that made the token. Each request may come again after a kill on either side: redeem, confirm and seal
 * leave the same behind when they are done twice.
 */
@Injectable()
export class PairingAcceptance implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger(PairingAcceptance.name);
  readonly #loop = new Background('pairing-acceptance', LOOK_MS, () => this.#letGo());

  constructor(
    private readonly tokens: TrustTokenStore,
    private readonly users: NatsUsers,
    private readonly peers: PeerStore,
    private readonly keys: PeerKeys,
    private readonly link: PeerLinkService,
    private readonly peerTrust: PeerTrust,
    private readonly operations: OperationService,
    private readonly clock: Clock,
    private readonly trust: SiteTrust,
    private readonly audit: AuditLog,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.#loop.start();
  }

  /** A token with which one other site can pair with this one, once. */
  async makeToken(madeBy: string): Promise<MadeToken> {
    const { siteId, siteName, address, natsPeerPort } = this.config;
    const { tokenId, secret, expiresAtMs } = await this.tokens.make({ kind: 'pairing', bound: {}, lifetimeMs: TOKEN_LIFETIME_MS, madeBy });
    const key = makeNatsKey();
    const rights = pairingRights(siteId, tokenId);
    const natsJwt = await this.users.issue({ owner: { kind: 'pairing', id: tokenId }, publicKey: key.publicKey, rights, notAfterMs: expiresAtMs });
    const caPem = this.trust.ca.trustedPem.join('');
    const text = formatToken({ kind: 'pairing', siteId, siteName, address, port: natsPeerPort, caPem, tokenId, secret, expiresAtMs, natsJwt, natsSeed: key.seed });
    return { text, expiresAtMs };
  }

  /** @throws ZvmError ZVM_FORBIDDEN for a token that is unknown, used or over; ZVM_CONFLICT for a version that does not fit */
  async redeem(tokenId: string, { secret, site, caPem, natsPublicKey }: PairingRedeemV1): Promise<PairingGrantV1> {
    const siteId = site.siteId.toLowerCase();
    await this.tokens.look({ kind: 'pairing', tokenId, secret });
    if (siteId === this.config.siteId) throw invalid('a site cannot be paired with itself');
    assertCompatible(site);
    assertCa(caPem, siteId);
    this.peers.assertLoaded();
    const known = this.peers.findAny(siteId);
    if (known?.state === 'paired') throw conflict(`site ${site.name} is paired with ${this.config.siteName} already; unpair them first`);
    await this.tokens.redeem({ kind: 'pairing', tokenId, secret, usedBy: digestOf(siteId, natsPublicKey) });
    if (this.keys.tokenText(siteId) !== tokenId) await this.keys.begin(siteId, tokenId);
    const userJwt = await this.peerTrust.issueUser(siteId, natsPublicKey);
    await this.users.revoke({ kind: 'peer', id: siteId }, { except: natsPublicKey });
    const { publicKey } = await this.keys.nextKey(siteId);
    await this.peers.put({ ...site, siteId, state: 'pairing', caPem, voided: [], canProtect: false, pairedAtMs: this.clock.nowMs() });
    this.#log.log(`site ${site.name} (${siteId}) has redeemed pairing token ${tokenId}`);
    return { site: this.link.card, caPem: [...this.trust.ca.trustedPem], userJwt, natsPublicKey: publicKey };
  }

  /** The other site has let this one in. */
  async confirm(siteId: string, userJwt: string): Promise<object> {
    await this.keys.grant(siteId, userJwt);
    this.link.followPeers();
    return {};
  }

  /** The other site has heard this one: both directions stand. */
  async seal(siteId: string): Promise<object> {
    await this.#closeToken(siteId);
    await this.peers.update(siteId, { state: 'paired', pairedAtMs: this.clock.nowMs() });
    return {};
  }

  async #closeToken(siteId: string): Promise<void> {
    const tokenId = this.keys.tokenText(siteId);
    if (tokenId !== '') await this.tokens.close(tokenId);
    await this.keys.dropToken(siteId);
  }

  /** Sites that stopped half-way. Those that this site asks itself are the operation's. */
  async #letGo(): Promise<void> {
    if (!this.peers.isLoaded) return;
    const asked = new Set(this.operations.inputsOf('pair').map((input) => (input as { siteId?: string }).siteId));
    const late = this.peers.all().filter(({ siteId, state, pairedAtMs }) => state === 'pairing' && !asked.has(siteId) && this.clock.nowMs() - pairedAtMs > PAIRING_MS_MAX);
    for (const { siteId, name } of late) {
      this.#log.warn(`site ${name} redeemed a token and was not heard of any more: it is let go of`);
      const act = { action: 'pairing.letGo', entities: [`site:${siteId}`], message: plainText(`site ${name} redeemed a token and was not heard of any more`) };
      await this.audit.recordOwn(act, async () => {
        await this.#closeToken(siteId);
        await this.peerTrust.shutOut(siteId);
        return {};
      });
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}

const digestOf = (siteId: string, natsPublicKey: string): string => createHash('sha256').update(`${siteId} ${natsPublicKey}`).digest('hex');
