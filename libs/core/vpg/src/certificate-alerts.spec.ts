import { describe, expect, it } from '@jest/globals';
import { certificateAlertsFor } from './certificate-alerts.js';

const DAY_MS = 86_400_000;
const START = Date.UTC(2026, 10, 22, 8);
const certificate = (lifeDays: number) => ({ subject: 'zvm', owner: 'the ZVM', notBeforeMs: START, notAfterMs: START + lifeDays * DAY_MS, remedy: 'Renew it' });
const idsAt = (lifeDays: number, day: number): string[] => certificateAlertsFor([certificate(lifeDays)], START + day * DAY_MS).map(({ helpIdentifier }) => helpIdentifier);

describe('alerts of certificates', () => {
  it.each([
    [90, 0, []], [90, 60, []], [90, 62.9, []], [90, 63.1, ['TDM0010']], [90, 82.9, ['TDM0010']], [90, 83.1, ['TDM0011']], [90, 89.9, ['TDM0011']], [90, 90, ['TDM0012']], [90, 500, ['TDM0012']],
    [90, -0.01, ['TDM0012']], [3653, 3622.9, []], [3653, 3623.1, ['TDM0010']], [3653, 3646.1, ['TDM0011']], [1, 0.69, []], [1, 0.71, ['TDM0010']], [1, 0.91, ['TDM0011']],
  ])('of one that lives %d days, on day %d: %j', (lifeDays, day, ids) => {
    expect(idsAt(lifeDays, day)).toEqual(ids);
  });

  it('say what ends, when, and what to do; after the end both times', () => {
    const textOn = (day: number): string | undefined => certificateAlertsFor([certificate(90)], START + day * DAY_MS)[0]?.description;
    expect(textOn(84)).toBe('the certificate of the ZVM ends at 2027-02-20T08:00Z, in 6 days. Renew it');
    expect(textOn(88.5)).toContain('in one day');
    expect(textOn(91)).toBe('the certificate of the ZVM ended at 2027-02-20T08:00Z, nobody believes it any more. Renew it. If that time has not come yet, the clock of this site is ahead');
    expect(textOn(-1)).toBe('the certificate of the ZVM begins at 2026-11-22T08:00Z, and it is 2026-11-21T08:00Z by the clock of this site: this clock is behind, or was ahead when it was made');
  });

  it('name times as Date does', () => {
    for (let day = -3; day < 4000; day += 13.37) {
      const at = Date.UTC(2026, 1, 27) + day * DAY_MS;
      const [one] = certificateAlertsFor([{ ...certificate(1), notBeforeMs: at - DAY_MS, notAfterMs: at }], at);
      expect(one?.description).toContain(`ended at ${new Date(at).toISOString().slice(0, 16)}Z`);
    }
  });
});
