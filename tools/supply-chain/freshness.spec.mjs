import { describe, expect, it } from '@jest/globals';
import { deprecated, isCompatible, judgeFreshness } from './freshness.mjs';

const NOW = Date.parse('2026-11-22');
const A = { name: 'a', current: '1.2.3', registry: { latest: '1.4.0', versions: ['1.2.3', '1.10.0', '1.3.0', '1.4.0', '1.5.0-rc.1', '2.0.0'] } };
const B = { name: 'b', current: '0.5.1', registry: { latest: '0.6.0', versions: ['0.5.1', '0.6.0'] } };
const judge = (found, explanations = {}) => judgeFreshness(found, { explanations, now: NOW });
const namesOf = (list) => list.map(({ name }) => name);

describe('the weaker check of the lock file', () => {
  it('lists packages that their makers have given up, with their notice', () => {
    expect(deprecated([{ name: 'a', version: '1.0.0', deprecated: 'use b' }, { name: 'b', version: '2.0.0' }, { name: 'c', version: '3.0.0', deprecated: 'gone', dev: true }]))
      .toEqual([{ name: 'a', version: '1.0.0', notice: 'use b', isDevelopment: false }, { name: 'c', version: '3.0.0', notice: 'gone', isDevelopment: true }]);
  });

  it.each([['1.2.3', '1.9.0', true], ['1.2.3', '2.0.0', false], ['0.5.1', '0.5.9', true], ['0.5.1', '0.6.0', false], ['0.0.11', '0.0.12', false], ['1.0.0-rc.1', '1.1.0', true]])('%s to %s is compatible: %p', (from, to, is) => {
    expect(isCompatible(from, to)).toBe(is);
  });

  it('finds what is behind its newest compatible release, and passes over what is explained until a near day', () => {
    const found = judge([A, B]);
    expect(found.open).toEqual([expect.objectContaining({ name: 'a', current: '1.2.3', newest: '1.4.0' })]);
    expect(namesOf(found.newMajor)).toEqual(['b']);
    expect(namesOf(judge([A], { a: { why: 'broken there', until: '2026-12-31' } }).explained)).toEqual(['a']);
    expect(namesOf(judge([A], { a: { why: 'broken there', until: '2036-12-31' } }).open)).toEqual(['a']);
    expect(namesOf(judge([A], { a: { until: '2026-12-31' } }).open)).toEqual(['a']);
  });

  it('never takes silence for an answer', () => {
    expect(judge([{ ...A, registry: null }])).toEqual({ open: [], explained: [], newMajor: [], unknown: [expect.objectContaining({ name: 'a' })] });
  });
});
