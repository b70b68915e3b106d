import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import {
  CheckpointDisksRequestV1, type CheckpointDisksV1, CheckpointInsertV1, CheckpointListV1, DesiredStateV1, EpochV1, PinDropV1, PinPutV1, PreseedCheckV1, ProtectionRefV1, ProtectionSettleV1, type ProtectionSettledV1, RecoveryReleaseV1, RecoveryRemoveV1, RecoveryV1, ViewOpenV1, ViewPromoteV1, ViewRefV1,
  subjectOf, type Channel, type CheckpointListingV1, type VraStatusV1,
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
    this.#answer('control', 'state.apply', DesiredStateV1, async (message) => {
      // First: once the state counts as applied nobody sends it again.
      await this.identity.learn(message.trust.sites.find(({ siteId }) => siteId === this.config.siteId)?.caPem ?? []);
      await this.engine.applyDesiredState(message);
    });
    this.#answer('control', 'recovery.put', RecoveryV1, (message) => this.engine.putRecovery(message));
    this.#answer('control', 'recovery.release', RecoveryReleaseV1, (message) => this.engine.releaseRecovery(message));
    this.#answer('control', 'recovery.remove', RecoveryRemoveV1, (message) => this.engine.removeRecovery(message));
    this.#answer('control', 'view.open', ViewOpenV1, (message) => this.engine.openView(message));
    this.#answer('control', 'view.close', ViewRefV1, (message) => this.engine.closeView(message.viewId));
    this.#answer('control', 'view.promote', ViewPromoteV1, (message) => this.engine.promoteView(message.viewId, message.epoch));
    this.#answer('control', 'pin.put', PinPutV1, (message) => this.engine.putPin(message));
    this.#answer('control', 'pin.drop', PinDropV1, (message) => this.engine.dropPin(message));
    this.#answer('control', 'epoch.reserve', EpochV1, (message) => this.engine.reserveEpoch(message));
    this.#answer('control', 'epoch.commit', EpochV1, (message) => this.engine.commitEpoch(message));
    this.#answer('control', 'epoch.burn', EpochV1, (message) => this.engine.burnEpoch(message));
    this.#answer('control', 'protection.forceSync', ProtectionRefV1, (message) => this.engine.forceSync(message));
    this.#answer('control', 'preseed.check', PreseedCheckV1, (message) => this.engine.checkPreseed(message));
    this.#answer('control', 'protection.settle', ProtectionSettleV1, async (message): Promise<ProtectionSettledV1> => ({ fingerprints: await this.engine.settle(message) }));
    this.#answer('checkpoint', 'checkpoint.insert', CheckpointInsertV1, (message) => this.engine.insertCheckpoint(message));
    this.#answer('checkpoint', 'checkpoint.disks', CheckpointDisksRequestV1, (message): CheckpointDisksV1 => ({ disks: this.engine.checkpointDisks(message) }));
    this.#answer('checkpoint', 'checkpoint.list', CheckpointListV1, (message): CheckpointListingV1 => this.engine.listCheckpoints(message));
    this.bus.respond(this.#subject('control', 'status.get'), null, () => this.status());
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

  #answer<T extends object, R>(channel: Channel, topic: string, type: new () => T, handle: (message: T) => Promise<R> | R): void {
    this.bus.respond(this.#subject(channel, topic), type, async (message) => (await handle(message)) ?? {});
  }
}
