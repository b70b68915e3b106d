import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import {
  type Channel, type CheckpointDisksV1, type CheckpointListingV1, type ProtectionSettledV1, subjectOf, VRA_COMMANDS, type VraMessage, type VraStatusV1, type VraTopic,
} from '@tidemark/contracts';
import { VraEngine } from '@tidemark/engine-host';
import { ControlBus, IdentityKeeper } from '@tidemark/nest';
import { VRA_CONFIG } from '../config/config.token.js';
import type { VraConfig } from '../config/config.js';

const STATUS_INTERVAL_MS = 1000;

/** The VRA's control messages on NATS: decoded, validated, handed to the engine. The engine never waits for this. */
@Injectable()
export class ControlService implements OnApplicationBootstrap, OnApplicationShutdown {
  #timer: NodeJS.Timeout | undefined;
  readonly #startedAtMs = Date.now();

  constructor(
    @Inject(VRA_CONFIG) private readonly config: VraConfig,
    @Inject(ControlBus) private readonly bus: ControlBus,
    @Inject(VraEngine) private readonly engine: VraEngine,
    @Inject(IdentityKeeper) private readonly identity: IdentityKeeper,
  ) {}

  onApplicationBootstrap(): void {
    this.#answer('state.apply', async (message) => {
      try {
        await this.engine.applyDesiredState(message);
      } finally {
        // Also when a disk or a stream of it failed: nobody sends a state again that counts as taken.
        await this.identity.followState();
      }
    });
    this.#answer('recovery.put', (message) => this.engine.putRecovery(message));
    this.#answer('recovery.release', (message) => this.engine.releaseRecovery(message));
    this.#answer('recovery.remove', (message) => this.engine.removeRecovery(message));
    this.#answer('view.open', (message) => this.engine.openView(message));
    this.#answer('view.close', (message) => this.engine.closeView(message.viewId, message.epoch));
    this.#answer('view.promote', (message) => this.engine.promoteView(message.viewId, message.epoch));
    this.#answer('pin.put', (message) => this.engine.putPin(message));
    this.#answer('pin.drop', (message) => this.engine.dropPin(message));
    this.#answer('epoch.reserve', (message) => this.engine.reserveEpoch(message));
    this.#answer('epoch.commit', (message) => this.engine.commitEpoch(message));
    this.#answer('epoch.burn', (message) => this.engine.burnEpoch(message));
    this.#answer('protection.forceSync', (message) => this.engine.forceSync(message));
    this.#answer('preseed.check', (message) => this.engine.checkPreseed(message));
    this.#answer('protection.settle', async (message): Promise<ProtectionSettledV1> => ({ fingerprints: await this.engine.settle(message) }));
    this.#answer('checkpoint.insert', (message) => this.engine.insertCheckpoint(message));
    this.#answer('checkpoint.disks', (message): CheckpointDisksV1 => ({ disks: this.engine.checkpointDisks(message) }));
    this.#answer('checkpoint.list', (message): CheckpointListingV1 => this.engine.listCheckpoints(message));
    this.bus.respond(this.#commandSubject('status.get'), null, () => this.status());
    this.#timer = setInterval(() => {
      this.bus.publish(this.#subject('event', 'status.published'), this.status());
    }, STATUS_INTERVAL_MS);
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.#timer);
    await this.bus.close();
    await this.engine.close();
  }

  status(): VraStatusV1 {
    return {
      vraId: this.config.vraId,
      hostId: this.config.hostId,
      version: process.env['npm_package_version'] ?? '0.1.0',
      address: this.config.address,
      startedAtMs: this.#startedAtMs,
      identity: this.identity.marks,
      ...this.engine.status(),
    };
  }

  #subject(channel: Channel, topic: string): string {
    return subjectOf({ siteId: this.config.siteId, service: 'vra', instanceId: this.config.vraId, channel, topic });
  }

  #commandSubject(topic: VraTopic): string {
    return this.#subject(VRA_COMMANDS[topic].channel, topic);
  }

  #answer<Topic extends VraTopic, R>(topic: Topic, handle: (message: VraMessage<Topic>) => Promise<R> | R): void {
    const type = VRA_COMMANDS[topic].type as (new () => VraMessage<Topic>) | null;
    this.bus.respond(this.#commandSubject(topic), type, async (message) => (await handle(message as VraMessage<Topic>)) ?? {});
  }
}
