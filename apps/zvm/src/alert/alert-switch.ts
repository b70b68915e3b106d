import { Injectable, Logger } from '@nestjs/common';
import { alertChanges, type WantedAlert } from '@tidemark/vpg';
import { type Allowance, EntryBudget } from '../audit/entry-budget.js';
import { eachAlone } from '../background.js';
import { Clock } from '../clock.js';
import { EventService } from '../event/event.service.js';
import { AlertStore } from './alert.store.js';

/**
 * How often one alert may go off, or be told of again. What goes on and off all the time, because something is loose or because somebody wants this ZVM to write, stays on for a while longer: each time is a row
 * in two tables, and people look away.
 */
const CHANGES: Allowance = { burst: 30, everyMs: 10 * 60_000 };
/** Far more than a site has things to tell of. */
const ALERTS_MAX = 100_000;

const EVENT_ENTITIES = { Vpg: 'VPG', Vra: 'VRA', Zvm: 'Site' } as const;

const keyOf = ({ helpIdentifier, subject }: { readonly helpIdentifier: string; readonly subject: string }): string => `${helpIdentifier} ${subject}`;

/** Makes the alerts that are on those that should be, and tells of each change. */
@Injectable()
export class AlertSwitch {
  readonly #log = new Logger('alerts');
  readonly #changes: EntryBudget;

  constructor(
    private readonly store: AlertStore,
    private readonly events: EventService,
    private readonly clock: Clock,
  ) {
    this.#changes = new EntryBudget(clock, CHANGES, ALERTS_MAX);
  }

  /** @throws the first error, when all changes had their turn: an alert that cannot be written down (its text is made of what others say) holds up no other one */
  async follow(wanted: readonly WantedAlert[]): Promise<void> {
    const { turnedOn, turnedOff, reworded, repeated } = alertChanges(this.store.active(), wanted);
    const at = new Date(this.clock.nowMs());
    await eachAlone([
      ...turnedOff.filter((alert) => this.#changes.isLeft(keyOf(alert))).map((alert) => async () => {
        await this.store.turnOff(alert.alertId, at);
        // Not before: without the database it is tried each second.
        this.#changes.spend(keyOf(alert));
        await this.#record('AlertTurnedOff', alert);
      }),
      ...turnedOn.map((alert) => async () => {
        await this.store.turnOn(alert, at);
        await this.#record('AlertTurnedOn', alert);
      }),
      ...reworded.map(({ active, wanted: now }) => () => this.store.change(active, { description: now.description })),
      ...repeated.map(({ active, wanted: now }) => async () => {
        await this.store.change(active, { description: now.description, isDismissed: false });
        if (this.#changes.spend(keyOf(active)) !== undefined) await this.#record('AlertTurnedOn', now);
      }),
    ], (change) => change());
  }

  async #record(type: 'AlertTurnedOn' | 'AlertTurnedOff', alert: { helpIdentifier: string; description: string; entity: 'Zvm' | 'Vra' | 'Vpg'; vpgIds: readonly string[] }): Promise<void> {
    this.#log.warn(`${type === 'AlertTurnedOn' ? 'on' : 'off'}: ${alert.helpIdentifier} ${alert.description}`);
    await this.events.record({
      type, category: 'Alerts', entity: EVENT_ENTITIES[alert.entity], description: `${alert.helpIdentifier}: ${alert.description}`, userName: 'System',
      isSuccess: true, vpgIds: alert.vpgIds,
    });
  }
}
