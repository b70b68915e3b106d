import { beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { WantedAlert } from '@tidemark/vpg';
import type { Clock } from '../clock.js';
import type { EventService } from '../event/event.service.js';
import type { AlertRecord, AlertStore } from './alert.store.js';
import { AlertSwitch } from './alert-switch.js';

const SILENT: WantedAlert = { helpIdentifier: 'ZVM0002', level: 'Error', entity: 'Vra', subject: '7', description: "VRA '7' does not answer", vpgIds: [] };
const OTHER: WantedAlert = { ...SILENT, subject: '8' };
const loss = (count: number): WantedAlert => ({ helpIdentifier: 'TDM0022', level: 'Error', entity: 'Vpg', subject: 'vpg/vm', description: `lost ${count} times`, vpgIds: ['vpg'] });

let nowMs: number;
let isDatabaseDown: boolean;
let active: AlertRecord[];
/** Rows that were written, of either table. */
let rows: { alerts: number; events: number };
let switches: AlertSwitch;

beforeEach(() => {
  Logger.overrideLogger(false);
  [nowMs, isDatabaseDown, active, rows] = [0, false, [], { alerts: 0, events: 0 }];
  const store = {
    active: () => active,
    turnOn: async (wanted: WantedAlert) => {
      rows.alerts += 1;
      active = [...active, { ...wanted, alertId: `${wanted.subject} ${rows.alerts}`, isDismissed: false, turnedOnAtMs: nowMs }];
    },
    turnOff: async (alertId: string) => {
      if (isDatabaseDown) throw new Error('the database does not answer');
      active = active.filter((one) => one.alertId !== alertId);
    },
    change: async (alert: AlertRecord, values: Partial<AlertRecord>) => {
      active = active.map((one) => (one.alertId === alert.alertId ? { ...one, ...values } : one));
    },
  } as unknown as AlertStore;
  const events = { record: async () => void (rows.events += 1) } as unknown as EventService;
  switches = new AlertSwitch(store, events, { nowMs: () => nowMs, monotonicMs: () => nowMs } as Clock);
});

const subjectsOn = (): string[] => active.map(({ subject }) => subject);

describe('an alert', () => {
  it('is on while it is wanted, and each change is told of', async () => {
    await switches.follow([SILENT]);
    await switches.follow([SILENT]);
    expect([subjectsOn(), rows]).toEqual([['7'], { alerts: 1, events: 1 }]);
    await switches.follow([]);
    expect([subjectsOn(), rows]).toEqual([[], { alerts: 1, events: 2 }]);
  });

  it('that goes on and off all the time stays on, goes off when that has ended, and holds up no other one', async () => {
    for (let second = 0; second < 3600; second += 1) {
      nowMs += 1000;
      await switches.follow(second % 2 === 0 ? [SILENT] : []);
    }
    // 30 at once and 6 in the hour.
    expect(rows.alerts).toBeLessThanOrEqual(37);
    expect(rows.events).toBeLessThanOrEqual(74);
    await switches.follow([SILENT, OTHER]);
    await switches.follow([SILENT]);
    expect(subjectsOn()).toEqual(['7']);
    nowMs += 600_000;
    await switches.follow([]);
    expect(subjectsOn()).toEqual([]);
  });

  it('goes off as soon as the database answers, however long that was tried', async () => {
    await switches.follow([SILENT]);
    isDatabaseDown = true;
    for (let second = 0; second < 200; second += 1) await switches.follow([]).catch(() => undefined);
    isDatabaseDown = false;
    await switches.follow([]);
    expect(subjectsOn()).toEqual([]);
  });

  it('that stays until it is dismissed says each time what is new, and has events in a bounded number', async () => {
    for (let count = 1; count <= 1000; count += 1) await switches.follow([loss(count)]);
    expect(active).toMatchObject([{ description: 'lost 1000 times' }]);
    expect(rows).toEqual({ alerts: 1, events: 31 });
  });
});
