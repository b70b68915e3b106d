import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { subjectOf } from '@tidemark/contracts';
import { ComponentIdentity, type CurrentIdentity, identityMarks, type IdentityMarks, type TrustedSite } from '@tidemark/trust';
import { ControlBus } from '../bus/control-bus.js';
import { renewIdentity } from '../trust/renew.js';
import { APPLIANCE, type Appliance, BelievedSites } from './appliance.js';
import { redeemTokenFile } from './redeem-token-file.js';

const LOOK_MS = 5000;

/** Keeps who this appliance is valid: renewed in time over NATS, or, when that was missed, enrolled anew with a token that an operator puts into its file. */
@Injectable()
export class IdentityKeeper implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger(IdentityKeeper.name);
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isWanted = false;
  /** A state was taken, and what it says of the own site's CA is not on disk yet. */
  #isBehind = false;
  #lastProblem = '';
  /** Wall clock, ms; certificates end by it. A test sets it forward. */
  nowMs: () => number = Date.now;
  #marks: { readonly of: readonly [CurrentIdentity, readonly TrustedSite[]]; readonly marks: IdentityMarks } | undefined;

  constructor(
    @Inject(APPLIANCE) private readonly appliance: Appliance,
    @Inject(ControlBus) private readonly bus: ControlBus,
    @Inject(ComponentIdentity) private readonly identity: ComponentIdentity,
    @Inject(BelievedSites) private readonly believed: BelievedSites,
  ) {}

  onApplicationBootstrap(): void {
    const { siteId, role, instanceId } = this.appliance;
    // The ZVM asks for it when the site changes its CA.
    this.bus.respond(subjectOf({ siteId, service: role, instanceId, channel: 'control', topic: 'trust.renew' }), null, () => {
      this.#isWanted = true;
      void this.look();
      return {};
    });
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
    void this.look();
  }

  get #what(): string {
    return `this ${this.appliance.role.toUpperCase()}`;
  }

  /** Runs by itself; a test calls it. Resolves when the look is over, whatever came of it. */
  look(): Promise<void> {
    this.#running ??= this.#lookOnce()
      .then(() => {
        this.#lastProblem = '';
      }, (error: unknown) => this.#complain(error instanceof Error ? error.message : String(error)))
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  async #lookOnce(): Promise<void> {
    const enrolled = await redeemTokenFile(this.appliance, this.identity.folder, this.identity);
    if (enrolled) return this.#log.log(`${this.#what} was enrolled anew`);
    if (this.#isBehind) await this.followState();
    else await this.#followKeptState();
    const isDue = this.#isWanted || this.identity.isRenewalDue(this.nowMs());
    if (isDue && this.bus.isConnected) {
      await renewIdentity(this.bus, this.identity);
      this.#isWanted = false;
      this.#log.log(`the certificate and NATS user of ${this.#what} are renewed until ${new Date(this.identity.expiresAtMs).toISOString()}`);
    } else if (this.nowMs() > this.identity.expiresAtMs) {
      throw new Error(`the certificate of ${this.#what} ended at ${new Date(this.identity.expiresAtMs).toISOString()}: make a new token (tidemark ${this.appliance.role}-token) and put it into ${this.appliance.enrolmentTokenFile}, or mend the clock`);
    }
  }

  #complain(problem: string): void {
    if (problem !== this.#lastProblem) this.#log.error(problem);
    this.#lastProblem = problem;
  }

  /** For the heartbeat: read when something has changed, not each second. */
  get marks(): IdentityMarks {
    const of = [this.identity.current(), this.believed.trustedSites] as const;
    if (!this.#marks || of.some((part, n) => part !== this.#marks?.of[n])) this.#marks = { of, marks: identityMarks(of[0], this.appliance.siteId, of[1]) };
    return this.#marks.marks;
  }

  /**
   * The broker is believed by what the state in force says of the own site: one with a certificate of the next CA as soon as the ZVM has said that there is one. To be called when a
   * state was taken, and not before: one that is refused as too old must not bring back the CA of then.
   */
  async followState(): Promise<void> {
    this.#isBehind = true;
    await this.identity.believe(() => this.#ownCaInForce());
    this.#isBehind = false;
  }

  /** One that died between taking a state and this has the one and not the other. What it has besides may be newer than that state: it was enrolled anew. */
  async #followKeptState(): Promise<void> {
    await this.identity.believe((believed) => [...believed, ...this.#ownCaInForce().filter((pem) => !believed.join('').includes(pem.trim()))]);
  }

  #ownCaInForce(): readonly string[] {
    return this.believed.trustedSites.find(({ siteId }) => siteId === this.appliance.siteId)?.caPem ?? [];
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }
}
