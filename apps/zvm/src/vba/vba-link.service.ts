import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { subjectOf, type VbaStatusV1, type VerificationStartV1, type VerificationV1 } from '@tidemark/contracts';
import { ControlBus, ControlError } from '@tidemark/nest';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { ZvmError } from '../errors.js';
import { SITE_BUS } from '../vra/vra-link.service.js';

/** Silence after which a VBA counts as unreachable. */
const SILENCE_MS = 5000;

interface Heartbeat {
  readonly status: VbaStatusV1;
  readonly receivedMs: number;
}

const isText = (value: unknown): boolean => typeof value === 'string' && value.length <= 255;

/** Enough that nobody trips over a heartbeat of a broken or newer VBA. */
function isStatus({ version, identity }: VbaStatusV1): boolean {
  return isText(version) && typeof identity === 'object' && typeof identity.notAfterMs === 'number' && typeof identity.notBeforeMs === 'number' && isText(identity.signedBy) && Array.isArray(identity.trusts);
}

/** All traffic with this site's VBAs over NATS: their heartbeats come in, commands go out. Every command is idempotent. */
@Injectable()
export class VbaLinkService implements OnModuleInit {
  readonly #heartbeats = new Map<string, Heartbeat>();

  constructor(
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    const subject = subjectOf({ siteId: this.config.siteId, service: 'vba', instanceId: '*', channel: 'event', topic: 'status.published' });
    this.bus.listen<VbaStatusV1>(subject, (status, actual) => {
      // Position 4 of the subject is the sender; a body that names another VBA is not trusted.
      if (actual.split('.')[4] === status.vbaId && isStatus(status)) this.#heartbeats.set(status.vbaId, { status, receivedMs: this.clock.monotonicMs() });
    });
  }

  /** The last status that arrived, however old. */
  lastStatus(vbaId: string): VbaStatusV1 | undefined {
    return this.#heartbeats.get(vbaId)?.status;
  }

  isAlive(vbaId: string): boolean {
    const heartbeat = this.#heartbeats.get(vbaId);
    return heartbeat !== undefined && this.clock.monotonicMs() - heartbeat.receivedMs < SILENCE_MS;
  }

  forget(vbaId: string): void {
    this.#heartbeats.delete(vbaId);
  }

  /** Asks for the next certificate: it comes back with a request of its own. */
  async renewIdentity(vbaId: string): Promise<void> {
    await this.#ask(vbaId, 'trust.renew', {});
  }

  async startVerification(vbaId: string, verification: VerificationStartV1): Promise<void> {
    await this.#ask(vbaId, 'verification.start', verification);
  }

  /** @throws ControlError with remoteCode VBA_UNKNOWN_VERIFICATION */
  async verification(vbaId: string, verificationId: string): Promise<VerificationV1> {
    return await this.#ask<VerificationV1>(vbaId, 'verification.get', { verificationId });
  }

  async endVerification(vbaId: string, verificationId: string): Promise<void> {
    await this.#ask(vbaId, 'verification.end', { verificationId });
  }

  async #ask<R>(vbaId: string, topic: string, message: object): Promise<R> {
    const subject = subjectOf({ siteId: this.config.siteId, service: 'vba', instanceId: vbaId, channel: 'control', topic });
    try {
      return await this.bus.request<R>(subject, message);
    } catch (error) {
      if (error instanceof ControlError && error.isRetryable) throw new ZvmError('ZVM_VBA_DOWN', `VBA ${vbaId} does not answer (${topic}): ${error.message}`, { cause: error });
      throw error;
    }
  }
}
