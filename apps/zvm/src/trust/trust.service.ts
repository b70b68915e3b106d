import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { readCertificates } from '@tidemark/trust';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { EventService } from '../event/event.service.js';
import { reloadNats } from './reload-nats.js';
import { RestCertificate } from './rest-certificate.js';
import { type OwnRole, SiteTrust } from './site-trust.js';

const LOOK_MS = 30_000;

/** A certificate of this site whose end somebody should hear of in time. */
export interface CertificateFact {
  /** `the ZVM`, `VRA 'Z-VRA-host1'`, … */
  readonly owner: string;
  /** Never the same for two. */
  readonly subject: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** What to do when it was not renewed by itself. */
  readonly remedy: string;
}

const OWNERS: Readonly<Record<OwnRole, string>> = { zvm: 'the ZVM', nats: 'the NATS server', postgres: 'PostgreSQL', hypervisor: 'the hypervisor manager' };

/** Keeps the site's own certificates renewed, and tells those who serve with them. */
@Injectable()
export class TrustService implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger('trust');
  readonly #loop = new Background('trust', LOOK_MS, () => this.look());

  constructor(
    readonly trust: SiteTrust,
    readonly certificate: RestCertificate,
    private readonly events: EventService,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.#loop.start();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }

  /** Renews what is due and takes up what was changed from outside. Runs by itself; a test calls it. */
  async look(): Promise<void> {
    await this.certificate.refresh();
    for (const role of await this.trust.renewDue()) await this.#renewed(role);
  }

  async #renewed(role: OwnRole): Promise<void> {
    this.#log.log(`the certificate of ${OWNERS[role]} was renewed`);
    if (role === 'nats') {
      const problem = await reloadNats(this.config.natsPidFile);
      if (problem !== undefined) this.#log.warn(`the NATS server still serves the certificate before: ${problem}`);
    }
    // Renewing must not hang on the database.
    await this.events.record({
      type: 'Unknown', category: 'Events', entity: 'Site', userName: 'System', isSuccess: true, vpgIds: [], description: `The certificate of ${OWNERS[role]} was renewed.`,
    }).catch((error: unknown) => this.#log.warn(`no event was recorded: ${String(error)}`));
  }

  /** The site's own certificates and its CA. */
  facts(): CertificateFact[] {
    const own = [...this.trust.identities()].map(([role, identity]) => {
      const { notBeforeMs, notAfterMs } = identity.current();
      return { owner: OWNERS[role], subject: role, notBeforeMs, notAfterMs, remedy: 'the ZVM renews it by itself: see its log for why it could not' };
    });
    return [...own, this.#caFact(), ...this.#importedFact()];
  }

  #caFact(): CertificateFact {
    const [ca] = readCertificates(this.trust.ca.signerPem, 'the CA');
    const { notBeforeMs = 0, notAfterMs = 0 } = ca ?? {};
    return { owner: "the site's CA", subject: 'ca', notBeforeMs, notAfterMs, remedy: 'rotate it: POST /v1/localsite/certificates/rotate' };
  }

  #importedFact(): CertificateFact[] {
    const { origin, cert } = this.certificate.current();
    if (origin === 'site') return [];
    const chain = readCertificates(cert, 'the imported certificate');
    return [{
      owner: 'port 9669 (imported)', subject: 'rest', notBeforeMs: Math.max(...chain.map(({ notBeforeMs }) => notBeforeMs)),
      notAfterMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
      remedy: "import its successor (PUT /v1/localsite/certificate), or go back to the site's own (DELETE)",
    }];
  }

  nowMs(): number {
    return this.clock.nowMs();
  }
}
