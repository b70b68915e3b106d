import type { Plant } from './plants.js';

const SPACE = 'libs/core/checkpoint/src/history-space.ts';

/** Limits by size: sim-space.ts, space-checker.ts. */
export const SPACE_PLANTS: readonly Plant[] = [
  {
    name: 'hard-limit-forgets-the-pending', isLimited: true, breaks: 'what is under way to a journal counts against its hard limit', seedBudget: 100, expects: ['limit'],
    mutation: { file: SPACE, find: 'hardBytes - journalBytes - pendingBytes);', replace: 'hardBytes - journalBytes);' },
  },
  {
    name: 'newest-for-want-of-space', isLimited: true, breaks: 'early retirement drops the oldest first, and no more than is needed', seedBudget: 60, expects: ['retirement'],
    mutation: { file: SPACE, find: 'Math.min(...fitting)', replace: 'Math.max(...fitting)' },
  },
  {
    name: 'opened-for-less-than-a-record', isLimited: true, breaks: 'a full journal takes frames again when there is room for the one that it refused', seedBudget: 300, expects: ['stuck'],
    mutation: { file: SPACE, find: 'Math.max(2 * creditBytes, neededBytes)', replace: '2 * creditBytes' },
  },
  {
    name: 'cut-off-counts-nowhere', isLimited: true, breaks: 'what a break has left on the disk counts in the size of its journal', seedBudget: 60, expects: ['limit'], under: ['rotJournal', 150],
    mutation: { file: 'libs/core/journal/src/durable-state.ts', find: 'sum + bytes, this.cutOff.bytes);', replace: 'sum + bytes, 0);' },
  },
  {
    name: 'history-before-cut-off', isLimited: true, breaks: 'no history is given up while what a break has left is enough', seedBudget: 150, expects: ['retirement'], under: ['rotJournal', 150],
    mutation: { file: 'libs/core/journal/src/journal.ts', find: 'bytes - cutOff.fileBytes;', replace: 'bytes;' },
  },
  { name: 'pin-not-durable', isLimited: true, breaks: 'a pin is durable before it is answered', seedBudget: 100, expects: ['pin', 'gone'], flag: 'pinVolatile' },
  {
    name: 'scratch-past-its-limit', isLimited: true, breaks: 'scratch never passes its limit', seedBudget: 60, expects: ['limit'],
    mutation: { file: 'libs/io/journal-file/src/scratch-journal.ts', find: 'this.#isFull = bytes > roomBytes;', replace: 'this.#isFull = roomBytes < 0;' },
  },
  { name: 'datastore-guard-ignored', isLimited: true, breaks: 'journals and scratch leave the guard of their datastore free', seedBudget: 100, expects: ['limit'], flag: 'guardIgnored' },
];

/** Journals that go from one recovering host to another: sim-takeover.ts, host-change.ts. */
export const TAKEOVER_PLANTS: readonly Plant[] = [
  {
    name: 'taken-over-unreleased', isChangingHosts: true, breaks: 'a journal is taken over when whoever had it has let go', seedBudget: 60, expects: ['writers'],
    mutation: { file: 'libs/core/journal/src/ownership.ts', find: "&& !claim.isOldHostDown ? 'notReleased'", replace: "&& claim.isOldHostDown ? 'notReleased'" },
  },
  { name: 'let-go-before-closed', isChangingHosts: true, breaks: 'a VRA says that it has let go when its files are closed', seedBudget: 100, expects: ['writers'], flag: 'letGoHasty' },
];
