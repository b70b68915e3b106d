import { subjectOf, type VbaStatusV1, VerificationRefV1, VerificationStartV1, type VerificationV1, type VerificationVolumeV1 } from '@tidemark/contracts';
import { type ControlBus, ControlRefusal } from '@tidemark/nest';

const HEARTBEAT_MS = 200;

export interface FakeVbaOptions {
  readonly siteId: string;
  readonly vbaId: string;
  readonly hostId: string;
  /** Connected as that VBA. */
  readonly bus: ControlBus;
}

/** Answers a ZVM as a VBA does, over real NATS; what it has read is only pretended. */
export class FakeVba {
  /** What it was asked to read and was not told to forget, by id. */
  readonly running = new Map<string, VerificationVolumeV1[]>();
  /** It is at it as long as this is true. */
  isHeld = false;
  problem = '';
  /** Disks that its answer does not have. */
  leavesOut = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(private readonly options: FakeVbaOptions) {
    const { bus, vbaId, hostId } = options;
    bus.respond(this.#subject('control', 'verification.start'), VerificationStartV1, ({ verificationId, volumes }) => {
      if (!this.running.has(verificationId)) this.running.set(verificationId, volumes);
      return {};
    });
    bus.respond(this.#subject('control', 'verification.get'), VerificationRefV1, ({ verificationId }) => this.#verification(verificationId));
    bus.respond(this.#subject('control', 'verification.end'), VerificationRefV1, ({ verificationId }) => {
      this.running.delete(verificationId);
      return {};
    });
    bus.respond(this.#subject('control', 'trust.renew'), null, () => ({}));
    const status: VbaStatusV1 = { vbaId, hostId, version: 'fake', address: '127.0.0.1', startedAtMs: 0, identity: { notBeforeMs: 0, notAfterMs: 8.64e15, signedBy: '', trusts: [] } };
    this.#timer = setInterval(() => bus.publish(this.#subject('event', 'status.published'), status), HEARTBEAT_MS);
  }

  #subject(channel: 'control' | 'event', topic: string): string {
    const { siteId, vbaId } = this.options;
    return subjectOf({ siteId, service: 'vba', instanceId: vbaId, channel, topic });
  }

  #verification(verificationId: string): VerificationV1 {
    const volumes = this.running.get(verificationId);
    if (!volumes) throw new ControlRefusal('VBA_UNKNOWN_VERIFICATION', verificationId);
    const totalBytes = volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (this.isHeld) return { state: 'reading', problem: '', readBytes: 1, totalBytes, volumes: [] };
    if (this.problem !== '') return { state: 'failed', problem: this.problem, readBytes: 1, totalBytes, volumes: [] };
    const read = volumes.slice(this.leavesOut).map(({ vmId, diskId, sizeBytes }) => ({ vmId, diskId, readBytes: sizeBytes, sha256: 'a'.repeat(64) }));
    return { state: 'read', problem: '', readBytes: totalBytes, totalBytes, volumes: read };
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.options.bus.close();
  }
}
