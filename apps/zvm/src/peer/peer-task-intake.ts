import type { TaskNewsV1 } from '@tidemark/contracts';
import { eachAlone } from '../background.js';
import type { Clock } from '../clock.js';
import type { TaskService } from '../task/task.service.js';
import type { VpgStore } from '../vpg/vpg.store.js';

/** Tasks that a paired site may begin to show here within {@link WINDOW_MS}: more than it tells of at a time. */
export const NEW_TASKS_MAX = 1000;
const WINDOW_MS = 3_600_000;

interface Window {
  readonly sinceMs: number;
  newCount: number;
}

/** Which of the tasks that paired sites tell of are shown here. */
export class PeerTaskIntake {
  readonly #windows = new Map<string, Window>();
  readonly #taking = new Set<string>();

  constructor(
    private readonly tasks: TaskService,
    private readonly vpgs: VpgStore,
    private readonly clock: Clock,
  ) {}

  /** What fails now, or comes while the news before it are still being written down, is told again a second later. */
  async take(site: { readonly siteId: string; readonly name: string }, told: readonly TaskNewsV1[]): Promise<void> {
    const { siteId, name } = site;
    if (this.#taking.has(siteId)) return;
    this.#taking.add(siteId);
    try {
      const mine = told.filter((task) => task.runnerSiteId === siteId && !task.related.vpgIds.some((vpgId) => this.#isOf(vpgId, siteId) === false));
      const known = mine.length === 0 ? new Set<string>() : await this.tasks.knownOf(mine.map(({ taskId }) => taskId));
      await eachAlone(mine, async (task) => {
        if (known.has(task.taskId) || this.#mayBegin(task, siteId)) await this.tasks.follow(task, name);
      });
    } finally {
      this.#taking.delete(siteId);
    }
  }

  /** One that is about no VPG of the two sites is nobody's business here. */
  #mayBegin({ related }: TaskNewsV1, siteId: string): boolean {
    if (!related.vpgIds.some((vpgId) => this.#isOf(vpgId, siteId) === true)) return false;
    const nowMs = this.clock.monotonicMs();
    const last = this.#windows.get(siteId);
    const window = last && nowMs - last.sinceMs < WINDOW_MS ? last : { sinceMs: nowMs, newCount: 0 };
    this.#windows.set(siteId, window);
    window.newCount += 1;
    return window.newCount <= NEW_TASKS_MAX;
  }

  /** undefined: nobody here knows that VPG (any more). */
  #isOf(vpgId: string, siteId: string): boolean | undefined {
    const known = this.vpgs.find(vpgId)?.definition;
    return known && (known.protectedSiteId === siteId || known.recoverySiteId === siteId);
  }
}
