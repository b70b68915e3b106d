import { describe, expect, it } from '@jest/globals';
import { historyBytesToFree, oldestWithin, resumeBytesOf, roomAtLimit, spaceBounds, type JournalFill } from './history-space.js';

const FILL: JournalFill = { journalBytes: 0, hardBytes: 1000, segmentBytes: 10, creditBytes: 100, isFull: false, neededBytes: 0 };

describe('a journal with a hard limit', () => {
  it('wants nothing given up while twice the credit is free, then so much that twice that is', () => {
    expect(historyBytesToFree({ ...FILL, journalBytes: 800 })).toBe(0);
    expect(historyBytesToFree({ ...FILL, journalBytes: 801 })).toBe(201);
  });

  it('wants room for the record that did not fit, however long', () => {
    expect(historyBytesToFree({ ...FILL, journalBytes: 700, neededBytes: 350 })).toBe(400);
  });

  it('opens again for that record, not for less', () => {
    expect([resumeBytesOf(FILL), resumeBytesOf({ ...FILL, neededBytes: 350 })]).toEqual([200, 350]);
  });

  it('has the room that neither it nor what was received before takes', () => {
    expect([roomAtLimit({ hardBytes: 1000, journalBytes: 600, pendingBytes: 300 }), roomAtLimit({ hardBytes: 1000, journalBytes: 900, pendingBytes: 300 })]).toEqual([100, 0]);
  });
});

describe('what goes for want of space', () => {
  const report = { newestIds: [3, 5, 7, 9], wantedId: 0, pinnedId: 0 };

  it('is nothing when nobody wants any', () => {
    expect(spaceBounds([report, report])).toBeUndefined();
  });

  it('is older than the newest that all hold, and not behind what somebody needs', () => {
    expect(spaceBounds([{ ...report, wantedId: 6 }, { ...report, newestIds: [3, 5, 7] }])).toEqual({ fromId: 6, throughId: 7 });
    expect(spaceBounds([{ ...report, wantedId: 6 }, { ...report, pinnedId: 5 }])).toEqual({ fromId: 5, throughId: 5 });
  });

  it('leaves the oldest that is enough', () => {
    expect(oldestWithin([9, 7, 5, 3], { fromId: 4, throughId: 7 })).toBe(5);
    expect(oldestWithin([3, 9], { fromId: 4, throughId: 7 })).toBe(0);
  });
});
