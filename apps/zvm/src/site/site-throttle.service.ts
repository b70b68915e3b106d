import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { ThrottleV1 } from '@tidemark/contracts';
import { areSharesWorthTelling, divideShares, throttleAt, type SendingDemand, type Throttle, type ThrottleWindow } from '@tidemark/base';
import { Clock } from '../clock.js';
import { Database } from '../persistence/database.js';
import { SiteSettingEntity } from '../persistence/entities.js';
import { VraLinkService } from '../vra/vra-link.service.js';

const SECTION = 'throttling';

export interface ThrottleSettings {
  /** null: no limit. */
  readonly bytesPerSecond: number | null;
  readonly window: ThrottleWindow | null;
}

export interface ThrottleState {
  /** In force now; null: no limit. */
  readonly bytesPerSecondMax: number | null;
  readonly bytesPerSecond: number;
  readonly isThrottled: boolean;
}

const NO_LIMIT: ThrottleSettings = { bytesPerSecond: null, window: null };

/** The site's limit for all that its VRAs replicate, and how it is divided over them: by what each sends and whether it is held back. */
@Injectable()
export class SiteThrottle implements OnModuleInit {
  #settings: ThrottleSettings = NO_LIMIT;
  #isLoaded = false;
  #vraIds: readonly string[] = [];
  #shares: readonly number[] = [];
  readonly #listeners: (() => void)[] = [];

  constructor(
    private readonly database: Database,
    private readonly link: VraLinkService,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      const row = await this.database.use((db) => db.findOneBy(SiteSettingEntity, { section: SECTION }));
      if (row) this.#settings = row.content as ThrottleSettings;
      this.#isLoaded = true;
    });
  }

  /** False: what was set before is not known yet, and must not be taken for "no limit". */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  get settings(): ThrottleSettings {
    return this.#settings;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** @throws ZvmError ZVM_DATABASE_DOWN */
  async set(settings: ThrottleSettings): Promise<void> {
    await this.database.use((db) => db.upsert(SiteSettingEntity, { section: SECTION, content: settings }, ['section']));
    this.#settings = settings;
    for (const listener of this.#listeners) listener();
  }

  /** What each VRA shall be told; without a limit nobody is told anything. */
  perVra(vraIds: readonly string[]): Map<string, ThrottleV1> {
    const throttle = this.#throttle();
    if (throttle.bytesPerSecond === null && throttle.window === null) return new Map();
    const shares = this.#divide(vraIds, throttleAt(throttle, this.clock.nowMs()));
    return new Map(vraIds.map((vraId, index) => [vraId, { ...throttle, share: shares[index] ?? 1 }]));
  }

  state(vraIds: readonly string[]): ThrottleState {
    const outbound = vraIds.flatMap((vraId) => this.link.status(vraId)?.outbound ?? []);
    const limit = throttleAt(this.#throttle(), this.clock.nowMs());
    return {
      bytesPerSecondMax: limit === Infinity ? null : limit,
      bytesPerSecond: outbound.reduce((sum, { bytesPerSecond }) => sum + bytesPerSecond, 0),
      isThrottled: outbound.some(({ isThrottled }) => isThrottled),
    };
  }

  /** The offset is told anew when daylight saving time begins or ends. */
  #throttle(): Throttle {
    return { ...this.#settings, utcOffsetMinutes: -new Date(this.clock.nowMs()).getTimezoneOffset() };
  }

  /** A new division is a new document for every VRA: it is made only when somebody gains by it. */
  #divide(vraIds: readonly string[], limitBytesPerSecond: number): readonly number[] {
    const isSame = vraIds.length === this.#vraIds.length && vraIds.every((vraId, index) => vraId === this.#vraIds[index]);
    const demands = vraIds.map((vraId): SendingDemand => this.link.status(vraId)?.outbound ?? { bytesPerSecond: 0, isThrottled: false });
    const next = divideShares(demands, limitBytesPerSecond === Infinity ? Number.MAX_SAFE_INTEGER : limitBytesPerSecond);
    if (!isSame || areSharesWorthTelling(this.#shares, next, demands)) {
      this.#vraIds = [...vraIds];
      this.#shares = next.map((share) => Math.round(share * 1e4) / 1e4 || 1e-4);
    }
    return this.#shares;
  }
}
