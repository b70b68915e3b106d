import { assert } from '@tidemark/base';

/** What a scan found where it could not go on. */
export interface BreakFacts {
  /** The last file ends exactly where a record ends. */
  readonly isCleanEnd: boolean;
  /** A record or segment of this journal with a higher number lies behind the break. */
  readonly hasLater: boolean;
  /** One of those says that the record missing at the break had been durable. */
  readonly isCommitted: boolean;
  /** The stream position missing at the break was acknowledged to the sender. */
  readonly isAcked: boolean;
}

/** `complete`: nothing is missing. `tornTail`: cut, never acknowledged. `corrupt`: acknowledged bytes are gone: never cut. */
export type BreakVerdict = 'complete' | 'tornTail' | 'corrupt';

interface Row {
  readonly when: Partial<BreakFacts>;
  readonly verdict: BreakVerdict;
  readonly why: string;
}

/** Every combination of facts matches exactly one row (tested exhaustively). */
export const RECOVERY_TABLE: readonly Row[] = [
  { when: { isCommitted: true }, verdict: 'corrupt', why: 'a later record says that the missing one had been durable' },
  { when: { isCommitted: false, isAcked: true }, verdict: 'corrupt', why: 'the sender was told that the missing record is durable' },
  { when: { isCommitted: false, isAcked: false, isCleanEnd: true, hasLater: false }, verdict: 'complete', why: 'the journal ends with a whole record' },
  { when: { isCommitted: false, isAcked: false, isCleanEnd: true, hasLater: true }, verdict: 'corrupt', why: 'a later segment exists that was never created after this end' },
  { when: { isCommitted: false, isAcked: false, isCleanEnd: false }, verdict: 'tornTail', why: 'nothing says that the missing record was ever durable' },
];

export const matchingRows = (facts: BreakFacts): readonly Row[] =>
  RECOVERY_TABLE.filter(({ when }) => (Object.keys(when) as (keyof BreakFacts)[]).every((key) => when[key] === facts[key]));

/** Torn tail or corruption? */
export function judgeBreak(facts: BreakFacts): { readonly verdict: BreakVerdict; readonly why: string } {
  const [row, ...others] = matchingRows(facts);
  assert(row !== undefined && others.length === 0, 'the recovery table has one row for every case');
  return row;
}
