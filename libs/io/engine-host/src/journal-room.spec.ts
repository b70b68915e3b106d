import { describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { JournalRoom } from './journal-room.js';

/** A journal with a hard limit of 256 MiB: a credit of 16 MiB. */
function room(journalBytes: number): { readonly room: JournalRoom; pendingBytes: number; journalBytes: number } {
  const state = { journalBytes, pendingBytes: 0 };
  const limits = { journalHardBytes: 256 * MiB };
  return Object.assign(state, {
    room: new JournalRoom({ limits: () => limits, journalBytes: () => state.journalBytes, pendingBytes: () => state.pendingBytes, datastoreRoomBytes: () => Infinity }),
  });
}

describe('the room of a journal', () => {
  it('is what others that were received leave, for the frame that is being appended', () => {
    const one = room(200 * MiB);
    one.pendingBytes = 10 * MiB;
    expect(one.room.bytes).toBe(46 * MiB);
    one.room.append(10 * MiB, () => expect(one.room.bytes).toBe(56 * MiB));
  });

  it('opens a full journal for the frame that it refused, wants history given up for it until then, and says what stands in the way', () => {
    const one = room(220 * MiB);
    one.pendingBytes = 40 * MiB;
    one.room.append(40 * MiB, () => one.room.becameFull());
    one.pendingBytes = 0;
    expect([one.room.canResume, one.room.isAtHardLimit, one.room.wantedBytes(true) / MiB]).toEqual([false, true, 44]);
    one.journalBytes = 216 * MiB;
    expect([one.room.canResume, one.room.isAtHardLimit]).toEqual([true, false]);
    one.room.opened();
    one.journalBytes = 224 * MiB;
    expect(one.room.canResume).toBe(true);
  });
});
