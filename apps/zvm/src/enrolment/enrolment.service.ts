import { Inject, Injectable, Logger } from '@nestjs/common';
import type { EnrolmentV1, IdentityGrantV1, IdentityRequestV1 } from '@tidemark/contracts';
import { type NatsRights, vraRights } from '@tidemark/nest';
import { type EnrolmentToken, formatToken, parseToken, TrustError } from '@tidemark/trust';
import { createHash } from 'node:crypto';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { forbidden, invalid, messageOf } from '../errors.js';
import { EventService } from '../event/event.service.js';
import { NatsUsers } from '../nats/nats-users.service.js';
import { SiteTrust } from '../trust/site-trust.js';
import { VraStore } from '../vra/vra.store.js';
import type { VraRecord } from '../vra/vra-model.js';
import { TrustTokenStore } from './trust-token.store.js';
import { VoidedVraStore } from './voided-vra.store.js';

/** Time for a hypervisor to start an appliance; an operator who copies a token by hand has it too. */
const TOKEN_LIFETIME_MS = 3_600_000;
/** Certificates begin at whole seconds: two that are issued so far apart do not begin at the same one. */
const CERTIFICATE_TICK_MS = 1000;

export interface MadeToken {
  readonly text: string;
  readonly expiresAtMs: number;
}

/** How VRAs come by their certificates and NATS users, and lose them. */
@Injectable()
export class Enrolment {
  readonly #log = new Logger(Enrolment.name);

  constructor(
    private readonly tokens: TrustTokenStore,
    private readonly users: NatsUsers,
    private readonly vras: VraStore,
    private readonly events: EventService,
    private readonly trust: SiteTrust,
    private readonly voided: VoidedVraStore,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** A token with which the VRA of this host, and nothing else, becomes a component of this site. */
  async makeToken({ vraId, hostId }: Pick<VraRecord, 'vraId' | 'hostId'>, madeBy: string): Promise<MadeToken> {
    const bound = { role: 'vra', instanceId: vraId, hostId } as const;
    const { tokenId, secret, expiresAtMs } = await this.tokens.make({ kind: 'enrolment', bound, lifetimeMs: TOKEN_LIFETIME_MS, madeBy });
    const text = formatToken({
      kind: 'enrolment', siteId: this.config.siteId, siteName: this.config.siteName, address: this.config.address, port: this.config.internalPort,
      caPem: this.trust.ca.trustedPem.join(''), tokenId, secret, expiresAtMs, ...bound,
    });
    return { text, expiresAtMs };
  }

  /** @throws ZvmError ZVM_FORBIDDEN for a token that is not good for this, ZVM_INVALID */
  async redeem(asked: EnrolmentV1, from: string): Promise<IdentityGrantV1> {
    try {
      const grant = await this.#redeem(asked);
      await this.#record(true, `${asked.role.toUpperCase()} ${asked.instanceId} on host ${asked.hostId} was enrolled from ${from}`);
      return grant;
    } catch (error) {
      const text = `enrolment as ${asked.role} ${asked.instanceId} on host ${asked.hostId} was refused to ${from}: ${messageOf(error)}`;
      this.#log.warn(text);
      await this.#record(false, text);
      throw error;
    }
  }

  async #redeem(asked: EnrolmentV1): Promise<IdentityGrantV1> {
    const { tokenId, secret, siteId } = readToken(asked.token);
    if (siteId !== this.config.siteId) throw forbidden(`this token is of site ${siteId}; this is site ${this.config.siteId}`);
    const bound = await this.tokens.look({ kind: 'enrolment', tokenId, secret });
    for (const part of ['role', 'instanceId', 'hostId'] as const) {
      if (bound[part] !== asked[part]) throw forbidden(`this token is for ${part} ${String(bound[part])}, not ${asked[part]}`);
    }
    const vra = this.#vra(asked.instanceId);
    await this.tokens.redeem({ kind: 'enrolment', tokenId, secret, usedBy: digestOf(asked) });
    const grant = await this.#replace(vra, asked);
    await this.tokens.closeOthers({ role: 'vra', instanceId: vra.vraId, tokenId });
    return grant;
  }

  /**
   * Whoever was this VRA before (a host that was set up anew, an identity that was stolen or has expired) is it no more, on NATS and on the data plane. In this order: its
   * NATS user ends; a second later, when nothing that it had asked for before is still under way, the new certificate begins; all that begin earlier are void; then the grant is
   * handed out. Cut short anywhere, the same keys ask again and all of it is done again.
   */
  async #replace(vra: VraRecord, asked: IdentityRequestV1): Promise<IdentityGrantV1> {
    const owner = { kind: 'vra', id: vra.vraId } as const;
    const { natsPublicKey } = asked;
    if (!(await this.users.hasOthers(owner, natsPublicKey))) return (await this.#grant(vra, asked)).grant;
    await this.users.revoke(owner, { except: natsPublicKey });
    await new Promise((resolve) => setTimeout(resolve, CERTIFICATE_TICK_MS));
    const { grant, notBeforeMs } = await this.#grant(vra, asked);
    await this.voided.voidBefore({ vraId: vra.vraId, beforeMs: notBeforeMs });
    await this.users.revoke(owner, { except: natsPublicKey });
    return grant;
  }

  /** A VRA that is in asks for its next certificate and NATS user; the subject says which VRA. @throws ZvmError ZVM_FORBIDDEN, ZVM_INVALID */
  async renew(vraId: string, asked: IdentityRequestV1): Promise<IdentityGrantV1> {
    const { grant } = await this.#grant(this.#vra(vraId), asked);
    this.#log.log(`VRA ${vraId} has renewed its certificate and its NATS user`);
    return grant;
  }

  #vra(vraId: string): VraRecord {
    this.vras.assertLoaded();
    const vra = this.vras.find(vraId);
    if (!vra || vra.state === 'Removing') throw forbidden(`VRA ${vraId} does not belong to this site (any more)`);
    return vra;
  }

  async #grant({ vraId, address }: VraRecord, { certificateRequest, natsPublicKey }: IdentityRequestV1): Promise<{ readonly grant: IdentityGrantV1; readonly notBeforeMs: number }> {
    const { siteId } = this.config;
    const name = { siteId, role: 'vra', instanceId: vraId } as const;
    const { certificatePem, notBeforeMs, notAfterMs } = await this.trust.ca.issue(certificateRequest, name, [address]).catch(asInvalid);
    const rights: NatsRights = vraRights(siteId, vraId);
    const natsJwt = await this.users.issue({ owner: { kind: 'vra', id: vraId }, publicKey: natsPublicKey, rights, notAfterMs }).catch(asInvalid);
    return { grant: { certificatePem, caPem: this.trust.ca.trustedPem, natsJwt }, notBeforeMs };
  }

  /** No other VRA, here or at a paired site, believes it any more; its connection to the broker is cut, and no token lets it in again. */
  async expel(vraId: string): Promise<void> {
    await this.tokens.closeOthers({ role: 'vra', instanceId: vraId, tokenId: null });
    await this.voided.voidAll(vraId);
    await this.users.revoke({ kind: 'vra', id: vraId });
  }

  async #record(isSuccess: boolean, description: string): Promise<void> {
    await this.events.record({ type: 'Enrolment', category: 'Events', entity: 'VRA', description: description.slice(0, 1000), userName: 'System', isSuccess, vpgIds: [] })
      .catch((error: unknown) => this.#log.warn(`the event could not be recorded: ${messageOf(error)}`));
  }
}

function readToken(text: string): EnrolmentToken {
  try {
    return parseToken(text, 'enrolment');
  } catch (error) {
    throw forbidden(messageOf(error));
  }
}

function asInvalid(error: unknown): never {
  if (error instanceof TrustError && error.code === 'TRUST_REQUEST') throw invalid(error.message);
  throw error;
}

const digestOf = ({ certificateRequest, natsPublicKey }: IdentityRequestV1): string => createHash('sha256').update(`${natsPublicKey}\n${certificateRequest.trim()}`).digest('hex');
