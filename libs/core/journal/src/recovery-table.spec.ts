import { describe, expect, it } from '@jest/globals';
import { type BreakFacts, judgeBreak, matchingRows } from './index.js';

const BOOLEANS = [false, true];
const ALL: BreakFacts[] = BOOLEANS.flatMap((isCleanEnd) => BOOLEANS.flatMap((hasLater) => BOOLEANS.flatMap((isCommitted) => BOOLEANS.map((isAcked) => ({
  isCleanEnd, hasLater, isCommitted, isAcked,
})))));

describe('torn tail or corruption', () => {
  it.each(ALL)('has exactly one row for clean end $isCleanEnd, later $hasLater, committed $isCommitted, acked $isAcked', (facts) => {
    expect(matchingRows(facts)).toHaveLength(1);
  });

  it('cuts nothing that was committed or acknowledged', () => {
    for (const facts of ALL.filter(({ isCommitted, isAcked }) => isCommitted || isAcked)) expect(judgeBreak(facts).verdict).toBe('corrupt');
  });

  it('cuts whatever nothing says was durable', () => {
    for (const hasLater of BOOLEANS) expect(judgeBreak({ isCleanEnd: false, hasLater, isCommitted: false, isAcked: false }).verdict).toBe('tornTail');
  });

  it('is complete only at a clean end of the last file', () => {
    expect(ALL.filter((facts) => judgeBreak(facts).verdict === 'complete')).toEqual([{ isCleanEnd: true, hasLater: false, isCommitted: false, isAcked: false }]);
  });
});
