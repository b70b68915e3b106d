import { describe, expect, it } from '@jest/globals';
import { brokenJournal, goOn, NEWER } from './testing/broken-journal.js';

const OPENINGS = 200;

describe('streams that are opened again and again and bring nothing', () => {
  it('take so many bytes of the journal as is allowed for: a record each, and the beginnings of segments', () => {
    const { sender } = brokenJournal({ isApplied: false });
    goOn(sender, NEWER);
    const { journal } = sender.bench;
    const [bytes, segments] = [journal.journalBytes, journal.segments.length];
    for (let opening = 0; opening < OPENINGS; opening += 1) sender.begin();
    const begun = journal.segments.length - segments;
    expect(begun).toBeGreaterThan(5);
    // A header of 128 bytes and a session's id; a segment's header of 1 KiB and the state.
    expect(journal.journalBytes - bytes).toBeLessThanOrEqual(OPENINGS * 256 + begun * (1024 + 768));
  });
});
