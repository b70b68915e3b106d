import { Inject, Injectable } from '@nestjs/common';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { TooManyError } from '../errors.js';

const MINUTE_MS = 60_000;

/** How often one session or API token may call, minute by minute. Only who is known is counted, so there are no more counters than callers. */
@Injectable()
export class CallRate {
  readonly #counts = new Map<string, number>();
  #startedMs = -Infinity;

  constructor(
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** @throws TooManyError */
  count(callerId: string): void {
    const now = this.clock.monotonicMs();
    if (now - this.#startedMs >= MINUTE_MS) {
      this.#counts.clear();
      this.#startedMs = now;
    }
    const count = (this.#counts.get(callerId) ?? 0) + 1;
    this.#counts.set(callerId, count);
    const { callsPerMinute } = this.config;
    if (count > callsPerMinute) throw new TooManyError(`more than ${callsPerMinute} calls a minute in this session`, this.#startedMs + MINUTE_MS - now);
  }
}
