import { join } from 'node:path';
import type { JournalFile } from '@tidemark/journal-file';
import { EngineError } from './engine-error.js';
import { StateFile } from './state-file.js';
import type { Logger } from './types.js';

/** Keeps one checkpoint beyond retention, thinning and early retirement, whoever asked for it is gone or not. */
export interface CheckpointPin {
  /** Of who needs it, e.g. `backup 2026-11-22`; one checkpoint per name. */
  readonly name: string;
  readonly checkpointId: number;
  /** null: until it is dropped. */
  readonly keepForMs: number | null;
}

/** As it is kept. */
interface KeptPin {
  readonly name: string;
  readonly checkpointId: number;
  /** Running time of the journal: it goes where the journal goes, and no clock that somebody sets ends a pin too early. ADR 0049 */
  readonly untilClockMs: number | null;
}

export const PINS_MAX = 64;
const NAME_LENGTH_MAX = 100;

const keyOf = (name: string): string => `pin ${name}`;

/**
 * The named pins of one journal, in `pins.json` beside its segments, so that they go where the journal goes. A pin is in force before it is durable, and
 * durable before it is answered; the other way round when it is dropped.
 */
export class CheckpointPins {
  readonly #file: StateFile<readonly KeptPin[]>;
  #pins: readonly KeptPin[] = [];
  #journal: JournalFile | undefined;

  constructor(
    journalFolder: string,
    private readonly key: string,
    private readonly log: Logger,
  ) {
    this.#file = new StateFile(join(journalFolder, 'pins.json'), 'the checkpoints that backups and file restores have pinned may then be retired, so have them pinned anew');
  }

  async load(): Promise<void> {
    this.#pins = (await this.#file.load()) ?? [];
  }

  /** With what is left of their time. */
  get list(): readonly CheckpointPin[] {
    const clockMs = this.#journal?.clockMs ?? 0;
    return this.#pins.map(({ name, checkpointId, untilClockMs }) => ({ name, checkpointId, keepForMs: untilClockMs === null ? null : Math.max(0, Math.round(untilClockMs - clockMs)) }));
  }

  /** The pin of the oldest checkpoint: what holds the history. */
  get lowest(): Pick<CheckpointPin, 'name' | 'checkpointId'> | undefined {
    return this.#pins.reduce<KeptPin | undefined>((lowest, pin) => (lowest && lowest.checkpointId <= pin.checkpointId ? lowest : pin), undefined);
  }

  /** The journal was opened, before anything is retired in it. A checkpoint that went with damage takes its pin along, loudly. */
  attach(journal: JournalFile): void {
    this.#journal = journal;
    for (const { name, checkpointId } of this.#pins) if (journal.holds(checkpointId)) journal.pin(checkpointId, keyOf(name));
  }

  /** Throws VRA_UNKNOWN_CHECKPOINT, or VRA_CONFLICT for one name too many. A name that is known goes over to this checkpoint. */
  async put({ keepForMs, ...named }: CheckpointPin): Promise<void> {
    const journal = this.#open();
    const pin: KeptPin = { ...named, untilClockMs: keepForMs === null ? null : Math.ceil(journal.clockMs + keepForMs) };
    const before = this.#pins.find(({ name }) => name === pin.name);
    if (pin.name.trim() === '' || pin.name.length > NAME_LENGTH_MAX) throw new EngineError('VRA_CONFLICT', `a pin's name has 1 to ${String(NAME_LENGTH_MAX)} characters`);
    if (!before && this.#pins.length >= PINS_MAX) throw new EngineError('VRA_CONFLICT', `this recovery has ${String(PINS_MAX)} pins: drop one first`);
    if (!journal.holds(pin.checkpointId)) throw new EngineError('VRA_UNKNOWN_CHECKPOINT', `the journal of ${this.key} does not hold checkpoint ${String(pin.checkpointId)}`);
    // Known before the first wait, and the former one as well: a retirement that asks for pins meanwhile is told of both until the file says which.
    const known = this.#pins;
    this.#pins = [...known, pin];
    journal.pin(pin.checkpointId, `${keyOf(pin.name)} being put`);
    try {
      await this.#save([...known.filter(({ name }) => name !== pin.name), pin]);
      journal.unpin(keyOf(pin.name));
      journal.pin(pin.checkpointId, keyOf(pin.name));
    } catch (error) {
      this.#pins = known;
      throw error;
    } finally {
      journal.unpin(`${keyOf(pin.name)} being put`);
    }
  }

  /** One that is not there was dropped already. */
  async drop(name: string): Promise<void> {
    if (!this.#pins.some((pin) => pin.name === name)) return;
    await this.#save(this.#pins.filter((pin) => pin.name !== name));
    this.#journal?.unpin(keyOf(name));
  }

  /**
   * Drops what has expired, and what the journal does not hold any more. In memory first, unlike {@link drop}: the file says itself when a pin ends, so it may be late, and a datastore that is too full
   * to be told is freed by what the pin held.
   */
  async tick(): Promise<void> {
    if (this.#pins.length === 0) return;
    const clockMs = this.#journal?.clockMs ?? 0;
    const isGone = ({ checkpointId }: KeptPin): boolean => this.#journal?.holds(checkpointId) === false;
    const over = this.#pins.filter((pin) => isGone(pin) || (pin.untilClockMs !== null && pin.untilClockMs <= clockMs));
    if (over.length === 0) return;
    for (const pin of over) {
      const { name, checkpointId } = pin;
      if (isGone(pin) && this.#journal?.stats().isEnded === true) this.log.info({ protection: this.key, name, checkpointId }, 'a failover was committed: the history has ended, and the pin with it');
      else if (isGone(pin)) this.log.error({ protection: this.key, name, checkpointId }, 'a pinned checkpoint is gone with damage of the journal: its pin goes too');
      else this.log.info({ protection: this.key, name, checkpointId }, 'a pin has expired: its checkpoint may be retired');
      this.#journal?.unpin(keyOf(name));
    }
    this.#pins = this.#pins.filter((pin) => !over.includes(pin));
    await this.#file.save(this.#pins).catch((error: unknown) => this.log.warn({ protection: this.key, error: String(error) }, 'the file of pins could not be written; what has ended in it ends again after a restart'));
  }

  async #save(pins: readonly KeptPin[]): Promise<void> {
    await this.#file.save(pins);
    this.#pins = pins;
  }

  #open(): JournalFile {
    if (!this.#journal) throw new EngineError('VRA_CLOSED', `the journal of ${this.key} is not open`);
    return this.#journal;
  }
}
