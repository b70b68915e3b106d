import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { fingerprint, readCertificates } from '@tidemark/trust';
import type { CertificateFacts } from '@tidemark/vpg';
import type { X509Certificate } from 'node:crypto';
import { AuditLog, type OwnAct } from '../audit/audit-log.js';
import { changesBetween } from '../audit/redaction.js';
import { Background } from '../background.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { EventService } from '../event/event.service.js';
import { servedByNats } from './served-certificate.js';
import { reloadNats } from './reload-nats.js';
import { RestCertificate } from './rest-certificate.js';
import { type OwnRole, SiteTrust } from './site-trust.js';
import { ToldCertificates, type Shown } from './told-certificates.js';

const LOOK_MS = 30_000;

const OWNERS: Readonly<Record<OwnRole, string>> = { zvm: 'the ZVM', nats: 'the NATS server', postgres: 'PostgreSQL', hypervisor: 'the hypervisor manager' };

const FOUND = 'found at the start of this ZVM';

const renewalOf = (role: OwnRole): OwnAct => ({ action: 'certificate.renewed', entities: [`certificate:${role}`] });

/** Keeps the site's own certificates renewed, and tells those who serve with them. */
@Injectable()
export class TrustService implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger('trust');
  #natsServes: X509Certificate | undefined;
  #natsProblem: string | undefined;
  readonly #told: ToldCertificates;
  /** Undefined: told, or told by whoever rotates. */
  #caAtStart: Shown | undefined;
  #last: Promise<unknown> = Promise.resolve();
  readonly #loop = new Background('trust', LOOK_MS, () => this.look());

  constructor(
    readonly trust: SiteTrust,
    readonly certificate: RestCertificate,
    private readonly events: EventService,
    private readonly audit: AuditLog,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {
    this.#told = new ToldCertificates(config.stateDir);
    this.#caAtStart = this.#shownCa();
  }

  onApplicationBootstrap(): void {
    this.#loop.start();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }

  /** Renews what is due and takes up what was changed from outside. Runs by itself; a test calls it. */
  async look(): Promise<void> {
    await this.certificate.refresh();
    for (const role of await this.#renewTold()) await this.#renewed(role);
    await this.#bringNatsUpToDate();
  }

  /** One at a time: a rotation looks besides the timer, and what the one is about to tell is not untold for the other. */
  async #renewTold(): Promise<OwnRole[]> {
    const mine = this.#last.then(async () => {
      await this.#tellUntold();
      return await this.trust.renewDue(async (role, write) => await this.#recorded(role, write));
    });
    this.#last = mine.catch(() => undefined);
    return await mine;
  }

  async #tellUntold(): Promise<void> {
    for (const role of this.trust.identities().keys()) await this.#tell(role, { act: renewalOf(role), shown: this.#shown(role) });
    if (this.#caAtStart === undefined) return await this.#told.note('ca', this.#shownCa());
    const action = (await this.#told.of('ca')) === null ? 'ca.made' : 'ca.switched';
    const isTold = await this.#tell('ca', { act: { action, entities: [`site:${this.config.siteId}`] }, shown: this.#caAtStart });
    if (isTold) this.#caAtStart = undefined;
  }

  /** @returns whether the audit knows of it now. */
  async #tell(subject: string, { act, shown }: { readonly act: OwnAct; readonly shown: Shown }): Promise<boolean> {
    const changes = changesBetween(await this.#told.of(subject), shown);
    if (changes.length === 0) return true;
    const isSafe = await this.audit.appendOwn({ ...act, changes, message: FOUND });
    if (isSafe) await this.#told.note(subject, shown);
    return isSafe;
  }

  /** What the server shows is what counts: it may have been away, or somewhere where nobody could signal it, when its certificate was renewed. */
  async #bringNatsUpToDate(): Promise<void> {
    const own = this.trust.identities().get('nats');
    const served = await servedByNats(this.config.natsUrl).catch(() => undefined);
    this.#natsServes = served && own && served.fingerprint256 !== fingerprint(own.current().certificatePem) ? served : undefined;
    if (!this.#natsServes) return;
    const problem = await reloadNats(this.config.natsPidFile);
    if (problem !== undefined && problem !== this.#natsProblem) this.#log.warn(`the NATS server still shows the certificate before: ${problem}`);
    this.#natsProblem = problem;
  }

  /** As the audit shows the site's own certificates: SHA-256, and of the CAs that are written beside each. */
  #shown(role: OwnRole): Shown {
    const identity = this.trust.identities().get(role);
    if (!identity) return null;
    const { certificatePem, caPem } = identity.current();
    return { certificate: fingerprint(certificatePem), trusted: caPem.map(fingerprint) };
  }

  #shownCa(): Shown {
    const { signerPem, trustedPem } = this.trust.ca;
    return { signer: fingerprint(signerPem), trusted: trustedPem.map(fingerprint) };
  }

  async #recorded(role: OwnRole, write: () => Promise<void>): Promise<void> {
    const before = this.#shown(role);
    const isSafe = await this.audit.recordOwn(renewalOf(role), async () => {
      await write();
      return { changes: changesBetween(before, this.#shown(role)) };
    });
    if (isSafe) await this.#told.note(role, this.#shown(role));
  }

  async #renewed(role: OwnRole): Promise<void> {
    this.#log.log(`the certificate of ${OWNERS[role]} was renewed`);
    // Renewing must not hang on the database.
    await this.events.record({
      type: 'Unknown', category: 'Events', entity: 'Site', userName: 'System', isSuccess: true, vpgIds: [], description: `The certificate of ${OWNERS[role]} was renewed.`,
    }).catch((error: unknown) => this.#log.warn(`no event was recorded: ${String(error)}`));
  }

  /** The site's own certificates and its CA. */
  facts(): CertificateFacts[] {
    const own = [...this.trust.identities()].map(([role, identity]) => {
      const { notBeforeMs, notAfterMs } = identity.current();
      const late = role === 'nats' ? this.#natsServes : undefined;
      if (late) {
        return {
          owner: 'the NATS server, which shows the one before its renewed one,', subject: role, notBeforeMs: late.validFromDate.getTime(), notAfterMs: late.validToDate.getTime(),
          remedy: 'Run nats-server --signal reload where it runs',
        };
      }
      return { owner: OWNERS[role], subject: role, notBeforeMs, notAfterMs, remedy: 'The ZVM renews it by itself: its log says why it could not' };
    });
    return [...own, this.#caFact(), ...this.#importedFact()];
  }

  #caFact(): CertificateFacts {
    const [ca] = readCertificates(this.trust.ca.signerPem, 'the CA');
    const { notBeforeMs = 0, notAfterMs = 0 } = ca ?? {};
    return { owner: "the site's CA", subject: 'ca', notBeforeMs, notAfterMs, remedy: 'Rotate it: tidemark certificate rotate' };
  }

  #importedFact(): CertificateFacts[] {
    const { origin, cert } = this.certificate.current();
    if (origin === 'site') return [];
    const chain = readCertificates(cert, 'the imported certificate');
    return [{
      owner: 'port 9669 (imported)', subject: 'rest', notBeforeMs: Math.max(...chain.map(({ notBeforeMs }) => notBeforeMs)),
      notAfterMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
      remedy: "Import its successor (tidemark certificate import), or go back to the site's own (tidemark certificate remove)",
    }];
  }
}
