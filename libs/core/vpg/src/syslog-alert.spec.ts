import { expect, it } from '@jest/globals';
import { syslogAlertsFor, type SyslogBacklog } from './syslog-alert.js';

const backlog = (change: Partial<SyslogBacklog> = {}): SyslogBacklog => ({ target: 'tls://collector:6514', waitingCount: 3, waitingSinceMs: 1000, problem: 'connect ECONNREFUSED', ...change });
const at = (nowMs: number, change: Partial<SyslogBacklog> = {}): string[] => syslogAlertsFor(backlog(change), { nowMs, limitMs: 300_000 }).map(({ helpIdentifier }) => helpIdentifier);

it('is on when entries have waited for the limit, whether or not a reason is known, and not before', () => {
  expect([at(300_999), at(301_000), at(301_000, { problem: null })]).toEqual([[], ['TDM0013'], ['TDM0013']]);
  const [wanted] = syslogAlertsFor(backlog(), { nowMs: 301_000, limitMs: 300_000 });
  expect(wanted).toMatchObject({ level: 'Error', entity: 'Zvm', description: expect.stringContaining('tls://collector:6514: connect ECONNREFUSED') as unknown });
});

it('is on at once when too many wait and the last try failed; a long audit that a new collector takes is none', () => {
  expect([at(2000, { waitingCount: 10_001 }), at(2000, { waitingCount: 10_001, problem: null }), at(2000, { waitingCount: 10_000 })]).toEqual([['TDM0013'], [], []]);
});

it('is off when nothing waits, or nothing is forwarded', () => {
  expect(at(1e12, { waitingSinceMs: null })).toEqual([]);
  expect(syslogAlertsFor(null, { nowMs: 1e12, limitMs: 1 })).toEqual([]);
});
