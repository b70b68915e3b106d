import type { Mutation } from '../sim/plants.js';

export interface ActivityMutation extends Mutation {
  readonly name: string;
  /** What the activity log promises; docs/spec/activity-log.md, *Order of events*. */
  readonly breaks: string;
}

const REPLICATION = 'libs/core/replication/src';

/** Bugs of the activity log that its property tests did not find: each must be caught by a story of `activity-stories.ts`. */
export const ACTIVITY_MUTATIONS: readonly ActivityMutation[] = [
  {
    name: 'touched-extents-cleared', breaks: 'what was written while a round goes on stays marked', file: `${REPLICATION}/activity-log.ts`,
    find: '(candidates[word] ?? 0) & ~(touched[word] ?? 0);', replace: 'candidates[word] ?? 0;',
  },
  {
    name: 'ack-not-awaited', breaks: 'a mark goes when the recovery site is durable, not before', file: `${REPLICATION}/activity-keeper.ts`,
    find: 'if (around.stream.isDurable(phase.position)) this.#end(', replace: 'this.#end(',
  },
  {
    name: 'lost-answer-taken-for-the-logs-session', breaks: 'if the first answer is lost, nobody knows which session was there before: everything', file: `${REPLICATION}/open-decision.ts`,
    find: 'if (durableSeq > position.lastSeq && position.lastSeq === 0) return fullSync(reply, SyncTrigger.protectedVraRestarted, false);',
    replace: 'if (durableSeq > position.lastSeq && position.lastSeq === 0) return newSessionSync(position, { ...reply, lastSessionId: position.earlier?.sessionId ?? null });',
  },
  {
    name: 'fence-not-awaited', breaks: 'every write submitted before is captured before the position is noted', file: `${REPLICATION}/activity-keeper.ts`,
    find: 'if (!around.fence.isPast(phase.fence)) return;', replace: '',
  },
  {
    name: 'drop-count-ignored', breaks: 'a position from before the queue was dropped says nothing any more', file: `${REPLICATION}/sender.ts`,
    find: 'return position.dropCount !== this.#dropCount;', replace: 'return false;',
  },
  {
    name: 'mark-durable-after-clear', breaks: 'a mark that was cleared while it was written is not durable', file: `${REPLICATION}/activity-log.ts`,
    find: '(word & (marked[at] ?? 0));', replace: 'word;',
  },
];
