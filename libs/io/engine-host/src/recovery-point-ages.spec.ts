import { expect, it } from '@jest/globals';
import { RecoveryPointAges } from './recovery-point-ages.js';

const REF = { vpgId: 'v', vmId: 'm' };

it('gives nearest ranks over the last quarter of an hour, and forgets who is gone', () => {
  const ages = new RecoveryPointAges();
  expect(ages.list()).toEqual([]);
  ages.sample([{ ...REF, ageMs: 700 }]);
  expect(ages.list()).toEqual([{ ...REF, p50Ms: 700, p99Ms: 700, maxMs: 700 }]);
  // A sawtooth of 5 s, with one checkpoint of 900 s in a row that did not come for a minute.
  for (let second = 0; second < 900; second += 1) ages.sample([{ ...REF, ageMs: 1000 * (second >= 100 && second < 160 ? second - 99 : second % 5) }, { vpgId: 'v', vmId: 'other', ageMs: 1 }]);
  expect(ages.list()).toEqual([{ ...REF, p50Ms: 2000, p99Ms: 51_000, maxMs: 60_000 }, { vpgId: 'v', vmId: 'other', p50Ms: 1, p99Ms: 1, maxMs: 1 }]);
  for (let second = 0; second < 800; second += 1) ages.sample([{ ...REF, ageMs: 3000 }]);
  expect(ages.list()).toEqual([{ ...REF, p50Ms: 3000, p99Ms: 4000, maxMs: 4000 }]);
});
