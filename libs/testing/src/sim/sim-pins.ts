import type { RecoveringHost } from './recovering-host.js';
import type { SimRecovery } from './sim-recovery.js';
import { keyOf } from './topology.js';
import { Violation } from './world.js';

/** Keeps one checkpoint of one journal under a name, whoever asked for it is gone or not. */
export interface PinSpec {
  readonly name: string;
  readonly vpgId: string;
  readonly vmId: string;
  readonly checkpointId: number;
}

/** The named pins of one host's journals: in force before they are durable, durable before they are answered. */
export class SimPins {
  /** In this life of the process. */
  readonly #known = new Map<string, PinSpec>();
  /** In the file. */
  readonly #durable = new Map<string, PinSpec>();

  constructor(private readonly host: RecoveringHost) {}

  get list(): readonly PinSpec[] {
    return [...this.#known.values()];
  }

  /** The process begins. */
  load(): void {
    this.#known.clear();
    for (const [name, pin] of this.#durable) this.#known.set(name, pin);
  }

  attach({ vm, journal, key }: SimRecovery): void {
    for (const pin of this.#known.values()) {
      if (keyOf(pin.vpgId, pin.vmId) !== key || journal === undefined) continue;
      // A pin ends with the history, and with damage that takes its checkpoint.
      const isOver = journal.stats().isEnded || this.host.rotted.has(key);
      if (journal.holds(pin.checkpointId)) journal.pin(pin.checkpointId, pin.name);
      else if (!isOver) throw new Violation('gone', `${pin.name} keeps checkpoint ${pin.checkpointId}, which is gone from the journal of ${vm.vmId}`);
      else this.#known.delete(pin.name);
    }
  }

  async put(pin: PinSpec): Promise<void> {
    const journal = this.host.recovery(pin.vpgId, pin.vmId)?.journal;
    if (journal?.holds(pin.checkpointId) !== true || !this.host.canPin(pin)) throw new Error('not held, or being retired');
    this.#known.set(pin.name, pin);
    try {
      journal.pin(pin.checkpointId, pin.name);
    } catch (error) {
      this.#known.delete(pin.name);
      throw error;
    }
    await this.host.stateSaved();
    if (this.host.plant?.flag !== 'pinVolatile') this.#durable.set(pin.name, pin);
  }

  async drop({ name, vpgId, vmId }: PinSpec): Promise<void> {
    await this.host.stateSaved();
    this.#durable.delete(name);
    this.#known.delete(name);
    this.host.recovery(vpgId, vmId)?.journal?.unpin(name);
  }
}
