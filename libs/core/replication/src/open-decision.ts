import type { OpenedReply, SyncKind } from '@tidemark/frame';

/** How much of the protected volumes is in the sender's queue or already at the other side. The rest is in the bitmap. */
export type SenderMode =
  /** Nothing is queued: captured writes mark the bitmap. Where a Sender starts, with everything marked. */
  | 'tracking'
  /** Queue and bitmap: a sync is in the stream between its syncStart and its syncEnd. */
  | 'syncing'
  /** The bitmap is clean: everything that is not durable remotely is in the queue. */
  | 'streaming';

export interface SenderPosition {
  readonly sessionId: string;
  readonly mode: SenderMode;
  readonly ackedSeq: number;
  readonly firstQueuedSeq: number;
  readonly lastSeq: number;
  /** The oldest queued record is a syncStart: only there may the numbers jump. */
  readonly isSyncStartQueuedFirst: boolean;
  /** Number of the last syncEnd; 0: none yet. */
  readonly syncEndSeq: number;
}

export type OpenDecision =
  /** Send what is queued above the receiver's durable position. */
  | { readonly kind: 'resume' }
  /** Drop what is queued into the bitmap and send what that marks; everything, if `isEverythingDirty`. */
  | {
      readonly kind: 'sync';
      readonly syncKind: SyncKind;
      readonly reason: string;
      readonly isEverythingDirty: boolean;
      /** The other side has lost what it had acknowledged. */
      readonly isLoss: boolean;
    };

/**
 * What a sender does when its stream is opened. Rows from top to bottom, the first that holds decides; docs/spec/replication.md shows the
 * same table.
 */
export function decideOpen(position: SenderPosition, reply: OpenedReply): OpenDecision {
  const { durableSeq, isBaseComplete } = reply;
  if (durableSeq < position.ackedSeq) {
    return fullSync(reply, `recovery site lost acknowledged writes: durable up to ${durableSeq}, acknowledged ${position.ackedSeq}`, true);
  }
  if (reply.lastSessionId === null) return fullSync(reply, 'first sync', false);
  if (reply.lastSessionId !== position.sessionId) return fullSync(reply, otherSession(reply.lastSessionId, position.sessionId), false);
  // The answer to this session's first open got lost on its way: nothing was sent yet, so nothing can be missing.
  if (durableSeq > position.lastSeq && position.lastSeq === 0) return fullSync(reply, 'first sync of this capture session', false);
  if (durableSeq > position.lastSeq) {
    return fullSync(reply, `recovery site claims ${durableSeq}, sent were ${position.lastSeq} at most`, true);
  }
  if (position.mode === 'tracking') return trackedSync(reply);
  if (position.mode === 'streaming' && !isBaseComplete && position.syncEndSeq <= durableSeq) {
    return fullSync(reply, 'recovery site lost its base image', true);
  }
  if (position.firstQueuedSeq > durableSeq + 1 && !position.isSyncStartQueuedFirst) {
    return fullSync(reply, `queue starts at ${position.firstQueuedSeq}, durable up to ${durableSeq}`, true);
  }
  return { kind: 'resume' };
}

/** Ends the name of the appliance in a session id: who captures after another one knows that the VM has moved to it. */
export const SESSION_MARK = '/';

function otherSession(last: string, own: string): string {
  const [from, to] = [last, own].map((sessionId) => sessionId.slice(0, Math.max(0, sessionId.lastIndexOf(SESSION_MARK))));
  return from === to ? 'writes before this capture session are not known' : `the VM has moved here from VRA ${from}`;
}

/** Without a base it is an initial sync. With one, older checkpoints may hang on it: everything goes through the journal, as a delta sync does. */
function fullSync(reply: OpenedReply, reason: string, isLoss: boolean): OpenDecision {
  return { kind: 'sync', syncKind: reply.isBaseComplete ? 'deltaSync' : 'initialSync', reason, isEverythingDirty: true, isLoss };
}

/** The bitmap holds all that is not durable there. Without a base that is the rest of the initial sync of this session. */
function trackedSync(reply: OpenedReply): OpenDecision {
  const reason = 'more was written than could be queued';
  return { kind: 'sync', syncKind: reply.isBaseComplete ? 'bitmapSync' : 'initialSync', reason, isEverythingDirty: false, isLoss: false };
}
