import { Inject, Injectable, Logger } from '@nestjs/common';
import type { ApplianceRole, EnrolmentV1, IdentityGrantV1, IdentityRequestV1 } from '@tidemark/contracts';
import { vbaRights, vraRights } from '@tidemark/nest';
import { type EnrolmentToken, fingerprint, formatToken, parseToken, TrustError } from '@tidemark/trust';
import { createHash } from 'node:crypto';
import { ActAudit } from '../audit/act-audit.js';
import { currentNote } from '../audit/audit-note.js';
import { EntryBudget } from '../audit/entry-budget.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { forbidden, invalid, messageOf } from '../errors.js';
import { EventService } from '../event/event.service.js';
import { NatsUsers, type NatsUserOwner } from '../nats/nats-users.service.js';
import { SiteTrust } from '../trust/site-trust.js';
import { VbaStore } from '../vba/vba.store.js';
import { VraStore } from '../vra/vra.store.js';
import { enrolmentAct, renewalAct } from './enrolment-act.js';
import { TrustTokenStore } from './trust-token.store.js';
import { type Appliance, VoidedComponentStore } from './voided-component.store.js';

/** Time for a hypervisor to start an appliance; an operator who copies a token by hand has it too. */
const TOKEN_LIFETIME_MS = 3_600_000;
/** Certificates begin at whole seconds: two that are issued so far apart do not begin at the same one. */
const CERTIFICATE_TICK_MS = 1000;

/** Strangers can be refused without end: all of them together make so many events, and the next one counts the others. Each network's are in the audit. */
const REFUSED_EVENTS = { burst: 30, everyMs: 10 * 60_000 };

export interface MadeToken {
  readonly text: string;
  readonly expiresAtMs: number;
}

/** Of whom certificates and NATS users are made. */
interface EnrolledAppliance extends Appliance {
  readonly address: string;
}

const RIGHTS = { vra: vraRights, vba: vbaRights } as const;

/** How VRAs and VBAs come by their certificates and NATS users, and lose them. */
@Injectable()
export class Enrolment {
  readonly #log = new Logger(Enrolment.name);
  readonly #refusals: EntryBudget;

  constructor(
    private readonly tokens: TrustTokenStore,
    private readonly users: NatsUsers,
    private readonly vras: VraStore,
    private readonly vbas: VbaStore,
    private readonly events: EventService,
    private readonly trust: SiteTrust,
    private readonly voided: VoidedComponentStore,
    private readonly audit: ActAudit,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    clock: Clock,
  ) {
    this.#refusals = new EntryBudget(clock, REFUSED_EVENTS);
  }

  /** A token with which this appliance on this host, and nothing else, becomes a component of this site. */
  async makeToken({ role, instanceId, hostId }: Appliance & { readonly hostId: string }, madeBy: string): Promise<MadeToken> {
    const bound = { role, instanceId, hostId } as const;
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
      const grant = await this.audit.record(enrolmentAct(asked, from), async () => await this.#redeem(asked));
      await this.#record(asked.role, true, `${asked.role.toUpperCase()} ${asked.instanceId} on host ${asked.hostId} was enrolled from ${from}`);
      return grant;
    } catch (error) {
      const text = `enrolment as ${asked.role} ${asked.instanceId} on host ${asked.hostId} was refused to ${from}: ${messageOf(error)}`;
      await this.#refused(asked.role, text);
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
    const appliance = this.#appliance(asked.role, asked.instanceId);
    await this.tokens.redeem({ kind: 'enrolment', tokenId, secret, usedBy: digestOf(asked) });
    const grant = await this.#replace(appliance, asked);
    await this.tokens.closeOthers({ role: asked.role, instanceId: asked.instanceId, tokenId });
    return grant;
  }

  /**
   * Whoever was this appliance before (a host that was set up anew, an identity that was stolen or has expired) is it no more, on NATS and on the data plane. In this order: its
   * NATS user ends; a second later, when nothing that it had asked for before is still under way, the new certificate begins; all that begin earlier are void; then the grant is
   * handed out. Cut short anywhere, the same keys ask again and all of it is done again.
   */
  async #replace(appliance: EnrolledAppliance, asked: IdentityRequestV1): Promise<IdentityGrantV1> {
    const owner = ownerOf(appliance);
    const { natsPublicKey } = asked;
    if (!(await this.users.hasOthers(owner, natsPublicKey))) return (await this.#grant(appliance, asked)).grant;
    await this.users.revoke(owner, { except: natsPublicKey });
    await new Promise((resolve) => setTimeout(resolve, CERTIFICATE_TICK_MS));
    const { grant, notBeforeMs } = await this.#grant(appliance, asked);
    await this.voided.voidBefore({ role: appliance.role, instanceId: appliance.instanceId, beforeMs: notBeforeMs });
    await this.users.revoke(owner, { except: natsPublicKey });
    return grant;
  }

  /** An appliance that is in asks for its next certificate and NATS user; the subject says which one. @throws ZvmError ZVM_FORBIDDEN, ZVM_INVALID */
  async renew({ role, instanceId }: Appliance, asked: IdentityRequestV1): Promise<IdentityGrantV1> {
    const { grant } = await this.audit.record(renewalAct({ role, instanceId }, asked), async () => await this.#grant(this.#appliance(role, instanceId), asked));
    this.#log.log(`${role.toUpperCase()} ${instanceId} has renewed its certificate and its NATS user`);
    return grant;
  }

  #appliance(role: ApplianceRole, instanceId: string): EnrolledAppliance {
    const store = role === 'vra' ? this.vras : this.vbas;
    store.assertLoaded();
    const found = store.find(instanceId);
    if (!found || found.state === 'Removing') throw forbidden(`${role.toUpperCase()} ${instanceId} does not belong to this site (any more)`);
    return { role, instanceId, address: found.address };
  }

  async #grant({ role, instanceId, address }: EnrolledAppliance, { certificateRequest, natsPublicKey }: IdentityRequestV1): Promise<{ readonly grant: IdentityGrantV1; readonly notBeforeMs: number }> {
    const { siteId } = this.config;
    const name = { siteId, role, instanceId };
    const { certificatePem, notBeforeMs, notAfterMs } = await this.trust.ca.issue(certificateRequest, name, [address]).catch(asInvalid);
    const rights = RIGHTS[role](siteId, instanceId);
    const natsJwt = await this.users.issue({ owner: ownerOf({ role, instanceId }), publicKey: natsPublicKey, rights, notAfterMs }).catch(asInvalid);
    currentNote()?.changed(null, { certificate: fingerprint(certificatePem), signedBy: fingerprint(this.trust.ca.signerPem) });
    return { grant: { certificatePem, caPem: this.trust.ca.trustedPem, natsJwt }, notBeforeMs };
  }

  /** No VRA, here or at a paired site, believes it any more; its connection to the broker is cut, and no token lets it in again. */
  async expel(appliance: Appliance): Promise<void> {
    await this.tokens.closeOthers({ ...appliance, tokenId: null });
    await this.voided.voidAll(appliance);
    await this.users.revoke(ownerOf(appliance));
  }

  async #refused(role: ApplianceRole, text: string): Promise<void> {
    const leftOut = this.#refusals.spend('refused');
    if (leftOut === undefined) return;
    this.#log.warn(text);
    await this.#record(role, false, leftOut === 0 ? text : `${leftOut} enrolments were refused without an event of their own (they are in the audit); now ${text}`);
  }

  async #record(role: ApplianceRole, isSuccess: boolean, description: string): Promise<void> {
    await this.events.record({ type: 'Enrolment', category: 'Events', entity: role === 'vra' ? 'VRA' : 'Site', description: description.slice(0, 1000), userName: 'System', isSuccess, vpgIds: [] })
      .catch((error: unknown) => this.#log.warn(`the event could not be recorded: ${messageOf(error)}`));
  }
}

const ownerOf = ({ role, instanceId }: Appliance): NatsUserOwner => ({ kind: role, id: instanceId });

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
