import { describe, expect, it } from '@jest/globals';
import { claimVerdict, letGo, type JournalOwnership } from './ownership.js';

const owned = (vraId: string, moveNumber: number, releasedTo: number | null): JournalOwnership => ({ vraId, moveNumber, releasedTo });

describe('who may open a journal (docs/spec/journal.md, Another VRA takes over)', () => {
  it.each<[string, JournalOwnership | undefined, number, boolean, ReturnType<typeof claimVerdict>]>([
    ['nobody has had it', undefined, 0, false, 'open'],
    ['it is to be taken over, and nobody has left a name', undefined, 1, false, 'notReleased'],
    ['another VRA, released to this move', owned('other', 0, 3), 3, false, 'open'],
    ['another VRA, released to a later move', owned('other', 0, 3), 2, false, 'moved'],
    ['another VRA, not released', owned('other', 2, null), 3, false, 'notReleased'],
    ['another VRA, not released, its host is down', owned('other', 2, null), 3, true, 'open'],
    ['another VRA of this move', owned('other', 3, null), 3, true, 'moved'],
    ['this VRA, not released', owned('self', 3, null), 3, false, 'open'],
    ['this VRA of a later move', owned('self', 3, null), 2, false, 'moved'],
    ['this VRA, released', owned('self', 3, 4), 3, false, 'moved'],
    ['this VRA, released, and it comes back', owned('self', 3, 4), 4, false, 'open'],
  ])('%s', (_name, found, moveNumber, isOldHostDown, verdict) => {
    expect(claimVerdict(found, { vraId: 'self', moveNumber, isOldHostDown })).toBe(verdict);
  });

  it('lets go once, of what is its own, for a later move', () => {
    expect(letGo(owned('self', 1, null), { vraId: 'self', moveNumber: 2 })).toEqual(owned('self', 1, 2));
    for (const found of [undefined, owned('other', 1, null), owned('self', 2, null), owned('self', 1, 2)]) expect(letGo(found, { vraId: 'self', moveNumber: 2 })).toBeUndefined();
  });
});
