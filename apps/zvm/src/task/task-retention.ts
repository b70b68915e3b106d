import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { TaskStore } from './task.store.js';

const EVERY_MS = 10 * 60_000;
/** What they did stands in the audit, which is kept. */
export const ENDED_TASKS_MS = 90 * 24 * 3_600_000;
/** Of one site that runs them; of a paired one those that it never ends count too. */
export const TASKS_OF_SITE_MAX = 10_000;

/** Ended tasks go after their time, or when there are too many of one site: the oldest first. */
@Injectable()
export class TaskRetention implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #loop = new Background('task-retention', EVERY_MS, () => this.#prune());

  constructor(
    private readonly store: TaskStore,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.#loop.start();
  }

  async #prune(): Promise<void> {
    await this.store.prune({ ownSiteId: this.config.siteId, endedBefore: new Date(this.clock.nowMs() - ENDED_TASKS_MS), ofSiteMax: TASKS_OF_SITE_MAX });
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}
