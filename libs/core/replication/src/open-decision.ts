import { GENERATION_SESSION, type OpenedReply, type SyncKind } from '@tidemark/frame';
import { SyncTrigger } from './sync-trigger.js';
import type { EarlierSession } from './types.js';

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
  /** Of the last `open` that was answered; 0: none was. */
  readonly incarnation: number;
  readonly mode: SenderMode;
  readonly ackedSeq: number;
  readonly firstQueuedSeq: number;
  readonly lastSeq: number;
  /** The oldest queued record is a syncStart: only there may the numbers jump. */
  readonly isSyncStartQueuedFirst: boolean;
  /** Number of the last syncEnd; 0: none yet. */
  readonly syncEndSeq: number;
  /** Some marked blocks wait for a comparison. */
  readonly hasUnverified: boolean;
  /** Why writes are tracked in the bitmap. */
  readonly trackingReason: string;
  /** What an activity log says about the session before this one. */
  readonly earlier: EarlierSession | undefined;
  /** The image that the volumes were when tracking began; undefined: nothing is known. */
  readonly basisId?: string | undefined;
}

export type OpenDecision =
  /** Send what is queued above the receiver's durable position. */
  | { readonly kind: 'resume' }
  /** Drop what is queued into the bitmap and send what that marks; everything, if `isEverythingDirty`. */
  | {
      readonly kind: 'sync';
      readonly syncKind: SyncKind;
      readonly reason: string;
      /** Which blocks: those that the bitmap marks, all, those that the activity log of the session before this one names, or those that changed since the basis. */
      readonly blocks: 'marked' | 'all' | 'suspects' | 'changed';
      /** The other side holds an image, or a part of one: blocks that it may have are compared before they are sent. */
      readonly isCompared: boolean;
      /** The other side has lost what it had acknowledged. */
      readonly isLoss: boolean;
    };

/**
 * What a sender does when its stream is opened. Rows from top to bottom, the first that holds decides; docs/spec/replication.md shows the
 * same table.
 */
export function decideOpen(position: SenderPosition, reply: OpenedReply): OpenDecision {
  const { durableSeq, isBaseComplete } = reply;
  if (durableSeq < position.ackedSeq) return fullSync(reply, lostText(durableSeq, position.ackedSeq), true);
  if (reply.lastSessionId === null) return firstSync(position, reply);
  if (reply.lastSessionId !== position.sessionId) return newSessionSync(position, reply);
  // Somebody else may have opened the stream between this session's last answered open and one whose answer got lost: its records would be taken for ours.
  if (position.incarnation !== 0 && reply.incarnation !== position.incarnation + 1) {
    return fullSync(reply, `${SyncTrigger.recoveryVraUnreachable}: an answer got lost, who was here meanwhile is not known`, false);
  }
  // The answer to this session's first open got lost on its way: nothing was sent yet, so nothing can be missing.
  if (durableSeq > position.lastSeq && position.lastSeq === 0) return fullSync(reply, SyncTrigger.protectedVraRestarted, false);
  if (durableSeq > position.lastSeq) {
    return fullSync(reply, `${SyncTrigger.recoveryStorageError}: the recovery site claims ${durableSeq}, sent were ${position.lastSeq} at most`, true);
  }
  if (position.mode === 'tracking') return trackedSync(position, reply);
  if (position.mode === 'streaming' && !isBaseComplete && position.syncEndSeq <= durableSeq) {
    return fullSync(reply, `${SyncTrigger.recoveryStorageError}: the base image is lost`, true);
  }
  if (position.firstQueuedSeq > durableSeq + 1 && !position.isSyncStartQueuedFirst) {
    return fullSync(reply, `${SyncTrigger.recoveryStorageError}: the queue starts at ${position.firstQueuedSeq}, durable up to ${durableSeq}`, true);
  }
  return { kind: 'resume' };
}

const lostText = (durableSeq: number, ackedSeq: number): string =>
  `${SyncTrigger.recoveryStorageError}: acknowledged writes are lost, durable up to ${durableSeq}, acknowledged ${ackedSeq}`;

/** Ends the name of the appliance in a session id: who captures after another one knows that the VM has moved to it. */
export const SESSION_MARK = '/';

function otherSession(last: string, own: string): string {
  if (last === GENERATION_SESSION) return 'the storage of the journal failed: it goes on in a new generation';
  const [from, to] = [last, own].map((sessionId) => sessionId.slice(0, Math.max(0, sessionId.lastIndexOf(SESSION_MARK))));
  return from === to ? SyncTrigger.protectedVraRestarted : `${SyncTrigger.vmMoved}: it ran under VRA ${from}`;
}

/** The session before this one ended without a word. Its activity log, if it is this journal's and nothing is missing there, tells what may differ. */
function newSessionSync(position: SenderPosition, reply: OpenedReply): OpenDecision {
  const { earlier } = position;
  if (earlier === undefined || reply.lastSessionId !== earlier.sessionId) return fullSync(reply, otherSession(reply.lastSessionId ?? '', position.sessionId), false);
  if (reply.durableSeq < earlier.ackedSeq) return fullSync(reply, lostText(reply.durableSeq, earlier.ackedSeq), true);
  const whole = fullSync(reply, otherSession(reply.lastSessionId, position.sessionId), false);
  return reply.isBaseComplete ? { ...whole, blocks: 'suspects' } : whole;
}

/**
 * Without a base it is an initial sync, straight into the mirrors; with one, older checkpoints may hang on it and everything goes through the journal.
 * Whatever the other side already holds is compared first.
 */
function fullSync(reply: OpenedReply, reason: string, isLoss: boolean): OpenDecision & { readonly kind: 'sync' } {
  return { kind: 'sync', syncKind: hasImage(reply) ? 'deltaSync' : 'initialSync', reason, blocks: 'all', isCompared: isComparable(reply), isLoss };
}

/** Nobody has ever sent anything there. Only then can the image that both sides name be the one that its mirrors hold. */
function firstSync({ basisId }: SenderPosition, reply: OpenedReply): OpenDecision {
  const isKnown = basisId !== undefined && reply.basisId === basisId && reply.isPreseeded && !reply.isBaseComplete && reply.durableSeq === 0;
  if (isKnown) return { kind: 'sync', syncKind: 'bitmapSync', reason: SyncTrigger.reversed, blocks: 'changed', isCompared: false, isLoss: false };
  if (basisId !== undefined) return fullSync(reply, `${SyncTrigger.reversed}: the old volumes are not what they were when the VMs moved`, false);
  return fullSync(reply, reply.isPreseeded ? SyncTrigger.preseed : SyncTrigger.created, false);
}

/** The bitmap holds all that is not durable there. Without a base that is the rest of the initial sync of this session. */
function trackedSync({ hasUnverified, trackingReason }: SenderPosition, reply: OpenedReply): OpenDecision {
  const isCompared = isComparable(reply);
  const withImage: SyncKind = hasUnverified && isCompared ? 'deltaSync' : 'bitmapSync';
  return { kind: 'sync', syncKind: hasImage(reply) ? withImage : 'initialSync', reason: trackingReason, blocks: 'marked', isCompared, isLoss: false };
}

const hasImage = (reply: OpenedReply): boolean => reply.isBaseComplete || reply.isPreseeded;
const isComparable = (reply: OpenedReply): boolean => hasImage(reply) || reply.durableSeq > 0;
