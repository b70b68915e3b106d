import { Logger } from '@nestjs/common';
import { subjectOf } from '@tidemark/contracts';
import type { ControlBus } from '@tidemark/nest';
import type { Clock } from '../clock.js';
import { EventPace } from './event-pace.js';

/** Silence after which an appliance counts as unreachable. */
export const SILENCE_MS = 5000;

/** They come once a second, up to 4 MiB long; this is what one that was taken over can have the ZVM read. */
const PACE = { intervalMs: 100, bytesPerSecond: 4 << 20 };
/** Trouble is told of for so long after it was last met, and logged once in that time. */
const TROUBLE_MS = 60_000;
/** Some come close together after this process, or the broker, has stood still. */
const EARLY_MAX = 100;

export interface HeartbeatsOptions<Status> {
  readonly role: 'vra' | 'vba';
  readonly siteId: string;
  readonly isStatus: (value: unknown) => value is Status;
  readonly idOf: (status: Status) => string;
}

export interface Heartbeat<Status> {
  readonly status: Status;
  readonly receivedMs: number;
}

/** Goes on until nothing has been dropped for {@link TROUBLE_MS}. */
interface Trouble {
  lastMs: number;
  loggedMs: number;
  unreadableCount: number;
  earlyCount: number;
  /** What was wrong with the first answer of this trouble that was none. */
  badAnswer?: string;
}

/** The last word of each appliance of one role. Whatever one of them sends, the others are heard, and who works with their words finds them whole. */
export class Heartbeats<Status> {
  readonly #log: Logger;
  readonly #last = new Map<string, Heartbeat<Status>>();
  readonly #troubles = new Map<string, Trouble>();
  readonly #pace = new EventPace(PACE);

  constructor(
    private readonly clock: Clock,
    private readonly options: HeartbeatsOptions<Status>,
  ) {
    this.#log = new Logger(`Heartbeats ${options.role}`);
  }

  listen(bus: ControlBus, onStatus: (status: Status) => void): void {
    const { role, siteId } = this.options;
    const subject = subjectOf({ siteId, service: role, instanceId: '*', channel: 'event', topic: 'status.published' });
    // Position 4 of the subject is the sender: the broker lets each one speak under its own id alone.
    const senderOf = (actual: string): string => actual.split('.')[4] ?? '';
    bus.listen<unknown>(subject, (value, actual) => this.#take(senderOf(actual), value, onStatus), (actual, sizeBytes) => this.#isWelcome(senderOf(actual), sizeBytes));
  }

  #isWelcome(id: string, sizeBytes: number): boolean {
    const isWelcome = this.#pace.isWelcome(id, sizeBytes, this.clock.monotonicMs());
    if (!isWelcome) this.#note(id, 'earlyCount');
    return isWelcome;
  }

  #take(id: string, value: unknown, onStatus: (status: Status) => void): void {
    // A body that names another one is as little worth as one that cannot be worked with.
    if (!this.options.isStatus(value) || this.options.idOf(value) !== id) return this.#note(id, 'unreadableCount');
    this.#last.set(id, { status: value, receivedMs: this.clock.monotonicMs() });
    onStatus(value);
  }

  /** An answer of its to a command was none. */
  noteAnswer(id: string, topic: string, problem = `answers ${topic} with what is no answer to it; that is refused. It is of another version, or somebody else speaks in its name`): void {
    const nowMs = this.clock.monotonicMs();
    const trouble = this.#troubleNow(id, nowMs);
    trouble.badAnswer ??= problem;
    if (nowMs - trouble.loggedMs < TROUBLE_MS) return;
    trouble.loggedMs = nowMs;
    this.#log.warn(`${this.options.role} ${id} ${problem}`);
  }

  #troubleNow(id: string, nowMs: number): Trouble {
    const trouble = this.#troubleWith(id, nowMs) ?? { lastMs: nowMs, loggedMs: -Infinity, unreadableCount: 0, earlyCount: 0 };
    this.#troubles.set(id, trouble);
    trouble.lastMs = nowMs;
    return trouble;
  }

  #note(id: string, what: 'unreadableCount' | 'earlyCount'): void {
    const nowMs = this.clock.monotonicMs();
    const trouble = this.#troubleNow(id, nowMs);
    trouble[what] += 1;
    const { unreadableCount, earlyCount } = trouble;
    if (nowMs - trouble.loggedMs < TROUBLE_MS || (unreadableCount === 0 && earlyCount <= EARLY_MAX)) return;
    trouble.loggedMs = nowMs;
    this.#log.warn(`${this.options.role} ${id}: so far ${unreadableCount} heartbeats dropped because they have not the form of one, ${earlyCount} because they came too soon`);
  }

  #troubleWith(id: string, nowMs: number): Trouble | undefined {
    const trouble = this.#troubles.get(id);
    return trouble && nowMs - trouble.lastMs <= TROUBLE_MS ? trouble : undefined;
  }

  /** What is wrong with what it says, for people; undefined: nothing. The text stays the same while it lasts. */
  problemWith(id: string): string | undefined {
    const trouble = this.#troubleWith(id, this.clock.monotonicMs());
    if (!trouble) return undefined;
    if (trouble.unreadableCount > 0) return 'sends heartbeats that do not have the form of one; they are dropped. It is of another version, or somebody else speaks in its name';
    if (trouble.badAnswer !== undefined) return trouble.badAnswer;
    return trouble.earlyCount > EARLY_MAX ? 'sends far more heartbeats than it should; most are dropped. Somebody else may speak in its name' : undefined;
  }

  ids(): string[] {
    return [...this.#last.keys()];
  }

  /** However old. */
  last(id: string): Heartbeat<Status> | undefined {
    return this.#last.get(id);
  }

  /** Since the last heartbeat; Infinity: none since this ZVM started. */
  silenceMs(id: string): number {
    const heartbeat = this.#last.get(id);
    return heartbeat ? this.clock.monotonicMs() - heartbeat.receivedMs : Infinity;
  }

  isAlive(id: string): boolean {
    return this.silenceMs(id) < SILENCE_MS;
  }

  forget(id: string): void {
    this.#last.delete(id);
    this.#troubles.delete(id);
    this.#pace.forget(id);
  }
}
