import { describe, expect, it } from '@jest/globals';
import { TASK_STATE } from '@tidemark/contracts';
import { choice, instant, matches } from './query.js';

describe('list filters', () => {
  it('reads every documented form of a date', () => {
    expect(instant({ startDate: '2026Z' }, 'startDate')).toBe(Date.UTC(2026, 0, 1));
    expect(instant({ startDate: '2026-11-22T01:02:03.5Z' }, 'startDate')).toBe(Date.UTC(2026, 10, 22, 1, 2, 3, 500));
    expect(instant({ startDate: '2026-11-22T01:02' }, 'startDate')).toBe(new Date(2026, 10, 22, 1, 2).getTime());
    expect(() => instant({ startDate: 'yesterday' }, 'startDate')).toThrow('not a date');
  });

  it('takes names of parameters and values in any letter case', () => {
    expect(matches({ VpgName: 'app1' }, 'vpgname', 'App1')).toBe(true);
    expect(matches({ vpgName: 'app2' }, 'vpgName', 'App1')).toBe(false);
    expect(choice({ status: 'failed' }, 'status', TASK_STATE)).toBe('Failed');
    expect(choice({ status: '6' }, 'status', TASK_STATE)).toBe('Completed');
    expect(() => choice({ status: '77' }, 'status', TASK_STATE)).toThrow('not one of');
  });
});
