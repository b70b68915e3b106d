import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { subjectOf, type VbaStatusV1, VerificationRefV1, VerificationStartV1 } from '@tidemark/contracts';
import { APPLIANCE, type Appliance, ControlBus, IdentityKeeper } from '@tidemark/nest';
import { Verifications } from './verification/verifications.js';

const STATUS_INTERVAL_MS = 1000;

/** The VBA's control messages on NATS, and its heartbeat. */
@Injectable()
export class ControlService implements OnApplicationBootstrap, OnApplicationShutdown {
  #timer: NodeJS.Timeout | undefined;
  readonly #startedAtMs = Date.now();

  constructor(
    @Inject(APPLIANCE) private readonly appliance: Appliance,
    @Inject(ControlBus) private readonly bus: ControlBus,
    @Inject(Verifications) private readonly verifications: Verifications,
    @Inject(IdentityKeeper) private readonly identity: IdentityKeeper,
  ) {}

  onApplicationBootstrap(): void {
    this.bus.respond(this.#subject('control', 'verification.start'), VerificationStartV1, (message) => {
      this.verifications.start(message);
      return {};
    });
    this.bus.respond(this.#subject('control', 'verification.get'), VerificationRefV1, ({ verificationId }) => this.verifications.get(verificationId));
    this.bus.respond(this.#subject('control', 'verification.end'), VerificationRefV1, async ({ verificationId }) => {
      await this.verifications.end(verificationId);
      return {};
    });
    this.#timer = setInterval(() => this.bus.publish(this.#subject('event', 'status.published'), this.#status()), STATUS_INTERVAL_MS);
  }

  #status(): VbaStatusV1 {
    const { instanceId: vbaId, hostId, address } = this.appliance;
    return { vbaId, hostId, address, version: process.env['npm_package_version'] ?? '0.1.0', startedAtMs: this.#startedAtMs, identity: this.identity.marks };
  }

  #subject(channel: 'control' | 'event', topic: string): string {
    const { siteId, instanceId } = this.appliance;
    return subjectOf({ siteId, service: 'vba', instanceId, channel, topic });
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.#timer);
    await this.bus.close();
    await this.verifications.close();
  }
}
