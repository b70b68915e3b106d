import type { SyncWalk } from '@tidemark/sync';
import type { SenderMode } from './open-decision.js';
import type { SendQueue } from './send-queue.js';
import type { LinkState } from './sender-states.js';
import type { RefusedReply, SenderState, SenderStatus, SyncProgress } from './types.js';

/** What a Sender's status is made of. */
export interface SenderView extends Pick<SenderStatus, 'writtenBytes' | 'writeCount' | 'allSyncsBytes' | 'ackedSeq' | 'incarnation' | 'lostAcknowledgedCount'> {
  readonly mode: SenderMode;
  readonly link: LinkState;
  readonly refusal: RefusedReply | undefined;
  readonly creditBytes: number;
  readonly lossDetail: string;
  readonly sync: Pick<SyncProgress, 'kind' | 'reason' | 'totalBytes'> | undefined;
  readonly queue: Readonly<Pick<SendQueue, 'volumeBytes' | 'syncBytes' | 'lastSeq' | 'sentSeq'>>;
  readonly walk: Readonly<Pick<SyncWalk, 'dirtyBytes' | 'readingBytes' | 'unreadableBytes' | 'unverifiedBytes'>>;
}

export function senderStatus(view: SenderView): SenderStatus {
  const { queue, walk } = view;
  return {
    state: state(view),
    detail: detail(view),
    sync: progress(view),
    lagBytes: queue.volumeBytes + walk.dirtyBytes + walk.readingBytes,
    queuedBytes: queue.volumeBytes,
    dirtyBytes: walk.dirtyBytes,
    writtenBytes: view.writtenBytes,
    writeCount: view.writeCount,
    allSyncsBytes: view.allSyncsBytes,
    lastSeq: queue.lastSeq,
    sentSeq: queue.sentSeq,
    ackedSeq: view.ackedSeq,
    incarnation: view.incarnation,
    isFenced: view.link === 'refused' && view.refusal?.code === 'fenced',
    lostAcknowledgedCount: view.lostAcknowledgedCount,
  };
}

function state({ link, creditBytes, sync, walk }: SenderView): SenderState {
  if (link === 'refused') return 'refused';
  if (link !== 'open') return 'connecting';
  if (creditBytes === 0) return 'paused';
  if (sync === undefined) return 'replicating';
  return isStuck(walk) ? 'failed' : sync.kind;
}

/** All that is left of the sync cannot be read. */
function isStuck({ unreadableBytes, dirtyBytes, readingBytes }: SenderView['walk']): boolean {
  return unreadableBytes > 0 && unreadableBytes === dirtyBytes && readingBytes === 0;
}

function detail({ link, refusal, lossDetail, walk, creditBytes, mode }: SenderView): string {
  if (link === 'refused') return refusal?.message ?? '';
  if (lossDetail !== '') return lossDetail;
  if (walk.unreadableBytes > 0) return `${walk.unreadableBytes} bytes of the protected volumes cannot be read`;
  if (link === 'open' && creditBytes === 0) return 'the recovery site takes no more for now';
  if (link !== 'open') return mode === 'tracking' ? 'writes are tracked in a bitmap' : 'writes are queued';
  return '';
}

function progress({ sync, queue, walk }: SenderView): SyncProgress | null {
  if (sync === undefined) return null;
  const { dirtyBytes, readingBytes, unreadableBytes, unverifiedBytes } = walk;
  const remainingBytes = dirtyBytes + readingBytes + queue.syncBytes;
  // Blocks that memory had no room for become dirty again: the total may grow.
  const totalBytes = Math.max(sync.totalBytes, remainingBytes);
  return { kind: sync.kind, reason: sync.reason, totalBytes, remainingBytes, unreadableBytes, unverifiedBytes };
}
