import { describe, expect, it } from '@jest/globals';
import { judgeAudit } from './advisories.mjs';

const NOW = Date.parse('2026-11-22');
const advisory = (id, severity) => ({ url: `https://github.com/advisories/${id}`, severity, title: 'prototype pollution', name: 'left-pad' });
const report = (...via) => ({ auditReportVersion: 2, vulnerabilities: { 'left-pad': { via }, uses: { via: ['left-pad'] } } });
const idsOf = (list) => list.map(({ id }) => id);

describe('judging npm audit', () => {
  it('finds high and critical advisories, counts the others', () => {
    const found = judgeAudit(report(advisory('GHSA-1', 'high'), advisory('GHSA-2', 'critical'), advisory('GHSA-3', 'moderate')), {}, NOW);
    expect(idsOf(found.open)).toEqual(['GHSA-1', 'GHSA-2']);
    expect(found.lesser).toBe(1);
  });

  it.each([
    [{ why: 'only the build reads it', until: '2026-12-31' }, true],
    [{ why: 'only the build reads it', until: '2026-11-01' }, false],
    [{ why: 'only the build reads it', until: '2036-11-01' }, false],
    [{ why: 'only the build reads it' }, false],
    [{ until: '2026-12-31' }, false],
  ])('takes the explanation %p: %p', (explanation, isTaken) => {
    const found = judgeAudit(report(advisory('GHSA-1', 'high')), { 'GHSA-1': explanation }, NOW);
    expect(found.open).toHaveLength(isTaken ? 0 : 1);
    expect(found.explained).toHaveLength(isTaken ? 1 : 0);
  });

  it.each([[{ message: '405 Method Not Allowed', statusCode: 405 }], [{}], [undefined]])('never takes %p for a clean report', (answer) => {
    expect(judgeAudit(answer, {}, NOW)).toEqual({ unchecked: expect.any(String) });
  });
});
