import { describe, expect, it } from '@jest/globals';
import { isConnectionLoss } from './database.js';

describe('what counts as a lost database', () => {
  it.each([
    Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
    Object.assign(new Error('terminating connection'), { code: '57P01' }),
    new Error('Connection terminated unexpectedly'),
    new AggregateError([Object.assign(new Error('x'), { code: 'ECONNREFUSED' })]),
  ])('%s does', (error) => expect(isConnectionLoss(error)).toBe(true));

  it.each([Object.assign(new Error('duplicate key'), { code: '23505' }), new Error('syntax error'), undefined, 'text'])('%s does not', (error) =>
    expect(isConnectionLoss(error)).toBe(false));
});
