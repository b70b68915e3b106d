import { describe, expect, it } from '@jest/globals';
import { decideOpen, type SenderMode, type SenderPosition } from './index.js';
import type { OpenedReply } from './types.js';

const POSITION: SenderPosition = {
  sessionId: 's', incarnation: 1, mode: 'streaming', ackedSeq: 10, firstQueuedSeq: 11, lastSeq: 20, isSyncStartQueuedFirst: false, syncEndSeq: 5,
  hasUnverified: false, trackingReason: 'why', earlier: undefined,
};
const REPLY: OpenedReply = { incarnation: 2, durableSeq: 10, lastSessionId: 's', isBaseComplete: true, isPreseeded: false, creditBytes: 1 };

const EARLIER = { sessionId: 'x', ackedSeq: 99, suspects: [] };

const FIRST = { mode: 'tracking', ackedSeq: 0, firstQueuedSeq: 1, lastSeq: 0, basisId: 'view' } as const;
const EMPTY = { durableSeq: 0, lastSessionId: null, isBaseComplete: false } as const;

type Row = readonly [name: string, position: Partial<SenderPosition>, reply: Partial<OpenedReply>, expected: string];
const ROWS: readonly Row[] = [
  ['nothing is missing', {}, {}, 'resume'],
  ['acks were lost', {}, { durableSeq: 15 }, 'resume'],
  ['all is durable', {}, { durableSeq: 20 }, 'resume'],
  ['own initial sync is under way', { mode: 'syncing', syncEndSeq: 0 }, { isBaseComplete: false }, 'resume'],
  ['syncEnd is queued and not durable', { syncEndSeq: 18 }, { isBaseComplete: false }, 'resume'],
  ['a sync has jumped and nothing of it is durable', { mode: 'syncing', firstQueuedSeq: 15, isSyncStartQueuedFirst: true }, {}, 'resume'],
  ['the queue was dropped', { mode: 'tracking' }, {}, 'bitmapSync marked'],
  ['the queue was dropped during the initial sync', { mode: 'tracking' }, { isBaseComplete: false }, 'initialSync marked'],
  ['the first stream ever', { mode: 'tracking', ackedSeq: 0, firstQueuedSeq: 1, lastSeq: 0 }, { durableSeq: 0, lastSessionId: null, isBaseComplete: false }, 'initialSync all plain'],
  ['the first stream ever, onto disks that were put there', { mode: 'tracking', ackedSeq: 0, firstQueuedSeq: 1, lastSeq: 0 }, { durableSeq: 0, lastSessionId: null, isBaseComplete: false, isPreseeded: true }, 'deltaSync all'],
  ['the first stream ever, onto the image that our volumes were', FIRST, { ...EMPTY, isPreseeded: true, basisId: 'view' }, 'bitmapSync changed plain'],
  ['the first stream ever, onto disks of which nothing is proven', FIRST, { ...EMPTY, isPreseeded: true }, 'deltaSync all'],
  ['the first stream ever, onto another image', FIRST, { ...EMPTY, isPreseeded: true, basisId: 'other' }, 'deltaSync all'],
  ['onto the image that our volumes were, after somebody has sent', FIRST, { ...EMPTY, lastSessionId: 'x', isPreseeded: true, basisId: 'view' }, 'deltaSync all'],
  ['onto the image that our volumes were, with something durable', FIRST, { ...EMPTY, durableSeq: 3, isPreseeded: true, basisId: 'view' }, 'deltaSync all'],
  ['another session was here', {}, { lastSessionId: 'x', durableSeq: 100 }, 'deltaSync all'],
  ['the session of our activity log was here', { earlier: EARLIER }, { lastSessionId: 'x', durableSeq: 100 }, 'deltaSync suspects'],
  ['another session than that of our activity log was here', { earlier: EARLIER }, { lastSessionId: 'y', durableSeq: 100 }, 'deltaSync all'],
  ['what the activity log knows as acknowledged is gone', { earlier: EARLIER }, { lastSessionId: 'x', durableSeq: 98 }, 'deltaSync all loss'],
  ['less is there than the activity log knows, of a session that it does not name', { earlier: EARLIER }, { lastSessionId: 'y', durableSeq: 98 }, 'deltaSync all'],
  ['the session of our activity log had no base', { earlier: EARLIER }, { lastSessionId: 'x', durableSeq: 100, isBaseComplete: false }, 'initialSync all'],
  ['the queue was dropped before all was compared', { mode: 'tracking', hasUnverified: true }, {}, 'deltaSync marked'],
  ['another session was here and did not finish', {}, { lastSessionId: 'x', durableSeq: 100, isBaseComplete: false }, 'initialSync all'],
  ['an answer got lost, and another session may have been here before that', {}, { incarnation: 3 }, 'deltaSync all'],
  ['an answer got lost while tracking', { mode: 'tracking' }, { incarnation: 4 }, 'deltaSync all'],
  ['the answer to the first open got lost', { incarnation: 0, mode: 'tracking', ackedSeq: 0, firstQueuedSeq: 1, lastSeq: 0 }, { incarnation: 3, durableSeq: 0, isBaseComplete: false }, 'initialSync marked plain'],
  ['acknowledged writes are gone', {}, { durableSeq: 9 }, 'deltaSync all loss'],
  ['acknowledged writes and the base are gone', {}, { durableSeq: 9, isBaseComplete: false }, 'initialSync all loss'],
  ['acknowledged writes are gone and the journal is new', {}, { durableSeq: 0, lastSessionId: null, isBaseComplete: false }, 'initialSync all loss plain'],
  ['acknowledged writes are gone while tracking', { mode: 'tracking' }, { durableSeq: 9 }, 'deltaSync all loss'],
  ['the base is gone after our syncEnd', {}, { isBaseComplete: false }, 'initialSync all loss'],
  ['more is durable than was numbered', {}, { durableSeq: 21 }, 'deltaSync all loss'],
  ['the queue does not reach down', { firstQueuedSeq: 12 }, {}, 'deltaSync all loss'],
];

function describeDecision(position: Partial<SenderPosition>, reply: Partial<OpenedReply>): string {
  const decision = decideOpen({ ...POSITION, ...position }, { ...REPLY, ...reply });
  if (decision.kind === 'resume') return 'resume';
  return `${decision.syncKind} ${decision.blocks}${decision.isLoss ? ' loss' : ''}${decision.isCompared ? '' : ' plain'}`;
}

describe('decideOpen', () => {
  it.each(ROWS)('%s', (_, position, reply, expected) => {
    expect(describeDecision(position, reply)).toBe(expected);
  });

  /** Every combination of what matters: resume only if the other side is ours and the queue joins on; less than everything only if it is ours. */
  it('never resumes or sends a part where something could be missing', () => {
    const modes: readonly SenderMode[] = ['tracking', 'syncing', 'streaming'];
    let resumed = 0;
    for (const mode of modes) for (const lastSessionId of ['s', 'x', null]) for (const durableSeq of [0, 9, 10, 14, 20, 21]) {
      for (const isBaseComplete of [false, true]) for (const firstQueuedSeq of [11, 15]) for (const isSyncStartQueuedFirst of [false, true]) {
        for (const syncEndSeq of [0, 5, 18]) {
          const position = { ...POSITION, mode, firstQueuedSeq, isSyncStartQueuedFirst, syncEndSeq };
          const decision = decideOpen(position, { ...REPLY, lastSessionId, durableSeq, isBaseComplete });
          const isOurs = lastSessionId === 's' && durableSeq >= 10 && durableSeq <= 20;
          const isJoined = firstQueuedSeq <= durableSeq + 1 || isSyncStartQueuedFirst;
          const isBased = isBaseComplete || mode === 'syncing' || syncEndSeq > durableSeq;
          const mayResume = isOurs && mode !== 'tracking' && isJoined && isBased;
          expect(decision.kind).toBe(mayResume ? 'resume' : 'sync');
          if (decision.kind === 'sync' && decision.blocks !== 'all') expect([isOurs, mode]).toEqual([true, 'tracking']);
          resumed += mayResume ? 1 : 0;
        }
      }
    }
    expect(resumed).toBeGreaterThan(0);
  });
});
