import { expect, it } from '@jest/globals';
import { failSafeHistory } from './index.js';

const HOUR_MS = 3_600_000;

it.each([
  ['no history', null, 24 * HOUR_MS, 0, 4 * HOUR_MS], ['an hour of a day', HOUR_MS, 24 * HOUR_MS, HOUR_MS, 4 * HOUR_MS], ['a whole day', 24 * HOUR_MS, 24 * HOUR_MS, 4 * HOUR_MS, 4 * HOUR_MS],
  ['all of one hour', HOUR_MS, HOUR_MS, HOUR_MS, HOUR_MS],
])('fail-safe history of %s', (_what, historyMs, historyTargetMs, actualMs, configuredMs) => expect(failSafeHistory({ historyMs, historyTargetMs })).toEqual({ actualMs, configuredMs }));
