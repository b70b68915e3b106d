import { describe, expect, it } from '@jest/globals';
import { EVENT_TYPE, names, parseEnumeration, PRIORITY, TASK_STATE, TASK_TYPE, VPG_STATUS, VPG_SUB_STATUS, VRA_STATUS, type Enumeration } from './index.js';

describe('numbers that clients have hard-coded (reference §3.4, §8.3, §11.4)', () => {
  it.each<[Enumeration, string, number]>([
    [TASK_TYPE, 'CreateProtectionGroup', 0], [TASK_TYPE, 'InstallVra', 11], [TASK_TYPE, 'InsertTaggedCP', 15], [TASK_TYPE, 'Pair', 28], [TASK_TYPE, 'Clone', 35],
    [TASK_TYPE, 'FailoverBeforeCommit', 43], [TASK_TYPE, 'FailoverCommit', 44], [TASK_STATE, 'InProgress', 1], [TASK_STATE, 'Failed', 4], [TASK_STATE, 'Completed', 6],
    [VPG_STATUS, 'FailingOver', 5], [VPG_SUB_STATUS, 'BitmapSync', 23], [VPG_SUB_STATUS, 'JournalStorageError', 31], [VRA_STATUS, 'DuringChangeHost', 8],
    [EVENT_TYPE, 'Pair', 23], [EVENT_TYPE, 'FailoverCommit', 33], [EVENT_TYPE, 'AlertTurnedOn', 47], [EVENT_TYPE, 'Login', 60], [EVENT_TYPE, 'ResumeProtectionGroupAfterVmReadded', 68],
  ])('%#: %s', (of, name, number) => {
    expect([of.names[number], of.numbers[name]]).toEqual([name, number]);
  });
});

describe('parseEnumeration', () => {
  it.each<[unknown, string | undefined]>([
    [0, 'Low'], ['1', 'Medium'], ['HIGH', 'High'], [3, undefined], ['', undefined], ['-1', undefined], [null, undefined], [undefined, undefined], [[0], undefined],
  ])('%j', (value, name) => expect(parseEnumeration(PRIORITY, value)).toBe(name));
});

describe('names', () => {
  it('gives a copy', () => {
    names(PRIORITY).push('Urgent');
    expect(names(PRIORITY)).toEqual(['Low', 'Medium', 'High']);
  });
});
