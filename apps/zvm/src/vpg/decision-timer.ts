import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { RecoveryActions } from './recovery-actions.service.js';
import { VpgStore } from './vpg.store.js';

/** Commits or rolls back a failover when the time that its policy gave is up; the instant is in the VPG's record, so restarts keep it. */
@Injectable()
export class DecisionTimer implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #loop = new Background('commit-policy', 1000, () => this.#decide());

  constructor(
    private readonly vpgs: VpgStore,
    private readonly actions: RecoveryActions,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.#loop.start();
  }

  async #decide(): Promise<void> {
    for (const { definition, failover } of this.vpgs.visible()) {
      if (definition.recoverySiteId !== this.config.siteId || failover?.phase !== 'beforeCommit') continue;
      if (failover.decideAtMs === null || failover.decideAtMs > this.clock.nowMs()) continue;
      const action = `${failover.kind ?? 'failover'}${failover.commitPolicy === 'Commit' ? 'Commit' : 'Rollback'}`;
      await this.actions.run({ action, vpgId: definition.vpgId, input: {}, initiatedBy: 'System' });
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}
