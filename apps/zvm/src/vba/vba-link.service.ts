import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { type Answer, isVbaStatus, subjectOf, VBA_COMMANDS, type VbaAnswer, type VbaStatusV1, type VbaTopic, type VerificationStartV1, type VerificationV1 } from '@tidemark/contracts';
import { ControlBus, ControlError } from '@tidemark/nest';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { badAnswer, ZvmError } from '../errors.js';
import { Heartbeats } from '../heartbeat/heartbeats.js';
import { SITE_BUS } from '../vra/vra-link.service.js';

/** All traffic with this site's VBAs over NATS: their heartbeats come in, commands go out. Every command is idempotent. */
@Injectable()
export class VbaLinkService implements OnModuleInit {
  readonly #heartbeats: Heartbeats<VbaStatusV1>;

  constructor(
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    clock: Clock,
  ) {
    this.#heartbeats = new Heartbeats(clock, { role: 'vba', siteId: config.siteId, isStatus: isVbaStatus, idOf: ({ vbaId }) => vbaId });
  }

  onModuleInit(): void {
    this.#heartbeats.listen(this.bus, () => undefined);
  }

  /** The last status that arrived, however old. */
  lastStatus(vbaId: string): VbaStatusV1 | undefined {
    return this.#heartbeats.last(vbaId)?.status;
  }

  isAlive(vbaId: string): boolean {
    return this.#heartbeats.isAlive(vbaId);
  }

  /** What is wrong with its heartbeats and answers, for people. */
  problemWith(vbaId: string): string | undefined {
    return this.#heartbeats.problemWith(vbaId);
  }

  forget(vbaId: string): void {
    this.#heartbeats.forget(vbaId);
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
    return await this.#ask(vbaId, 'verification.get', { verificationId });
  }

  async endVerification(vbaId: string, verificationId: string): Promise<void> {
    await this.#ask(vbaId, 'verification.end', { verificationId });
  }

  async #ask<Topic extends VbaTopic>(vbaId: string, topic: Topic, message: object): Promise<VbaAnswer<Topic>> {
    const subject = subjectOf({ siteId: this.config.siteId, service: 'vba', instanceId: vbaId, channel: 'control', topic });
    try {
      return await this.bus.request(subject, message, VBA_COMMANDS[topic].answer as Answer<VbaAnswer<Topic>>);
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      if (error.isRetryable) throw new ZvmError('ZVM_VBA_DOWN', `VBA ${vbaId} does not answer (${topic}): ${error.message}`, { cause: error });
      if (error.code === 'CONTROL_INVALID') throw this.#refused(vbaId, topic, error);
      throw error;
    }
  }

  #refused(vbaId: string, topic: VbaTopic, cause: ControlError): ZvmError {
    this.#heartbeats.noteAnswer(vbaId, topic);
    return badAnswer(`VBA ${vbaId}`, topic, cause);
  }
}
