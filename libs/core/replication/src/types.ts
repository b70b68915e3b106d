import type { SharedMemory } from '@tidemark/base';
import type { CaptureFence, CaptureSink, GuestWrite } from '@tidemark/splitter';
import type { CheckpointMarker, CheckpointSeal, FrameHeader, OpenedReply, OpenRequest, RefusedReply, StreamRecord, SyncKind } from '@tidemark/frame';
import type { SyncCompare, SyncRead, VolumeExtent } from '@tidemark/sync';
import type { BudgetShare } from './memory-budget.js';

export type { CaptureSink, GuestWrite, SyncCompare, SyncRead, VolumeExtent };

/** What is known of the capture session before this one, from a log that was on disk before the writes that it covers. */
export interface EarlierSession {
  readonly sessionId: string;
  /** Everything up to here was acknowledged when the log said so. */
  readonly ackedSeq: number;
  /** What may differ from the recovery side; everything else is the same there. */
  readonly suspects: readonly VolumeExtent[];
}

export interface SenderOptions {
  readonly vpgId: string;
  readonly vmId: string;
  readonly epoch: number;
  /** Random, made for this Sender: names the capture session. */
  readonly sessionId: string;
  /** Of each volume of the protection, by volume index. */
  readonly volumeSizesBytes: readonly number[];
  /** Indexes of volumes with temp data (swap, page files): copied once, then passed over. */
  readonly tempVolumes?: readonly number[];
  /** From {@link MemoryBudget.share}. */
  readonly budget: BudgetShare;
  readonly earlier?: EarlierSession;
  /** The volumes were the image that `basisId` names, and have changed in `extents` since. Good for a recovery side that holds that image and nothing else. */
  readonly basis?: { readonly basisId: string; readonly extents: readonly VolumeExtent[] };
  /** The VM's Splitter. Without it a sync may end while a write that a sync block already contains is not yet captured. */
  readonly fence?: CaptureFence;
  /** Where payloads come from: queued ones are retained, acknowledged ones released. */
  readonly memory?: SharedMemory;
}

/** Records for one frame, in stream order. Payloads must not be changed: they are sent again after a reconnect. */
export interface OutgoingFrame {
  readonly incarnation: number;
  readonly epoch: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly records: readonly StreamRecord[];
  /** Length of the body before compression. */
  readonly rawBytes: number;
}

/** Same words as the control plane's ReplicationState. */
export type SenderState = 'connecting' | 'initialSync' | 'deltaSync' | 'bitmapSync' | 'replicating' | 'paused' | 'refused' | 'failed';

export interface SyncProgress {
  readonly kind: SyncKind;
  readonly reason: string;
  readonly totalBytes: number;
  /** Not durable at the recovery site yet: dirty, being read, or in the queue as sync blocks. */
  readonly remainingBytes: number;
  /** Of those, bytes of the protected volume that could not be read; the sync cannot end before they can. */
  readonly unreadableBytes: number;
  /** Of those, bytes that are compared before it is known whether they have to be sent. */
  readonly unverifiedBytes: number;
}

export interface SenderStatus {
  readonly state: SenderState;
  /** For people. Empty when there is nothing to say. */
  readonly detail: string;
  readonly sync: SyncProgress | null;
  /** Bytes of volumes captured and not yet durable at the recovery site: queue, bitmap, blocks being read. */
  readonly lagBytes: number;
  readonly queuedBytes: number;
  readonly dirtyBytes: number;
  readonly writtenBytes: number;
  readonly writeCount: number;
  /** That the syncs since the Sender began had to compare or to send, when each began. */
  readonly allSyncsBytes: number;
  readonly lastSeq: number;
  readonly sentSeq: number;
  readonly ackedSeq: number;
  readonly incarnation: number;
  /** The recovery side has another, newer owner: this one's writes are part of no history any more. */
  readonly isFenced: boolean;
  /** How often the recovery side turned out to have lost acknowledged data. Any above 0 is an alarm. */
  readonly lostAcknowledgedCount: number;
}

/** `acked` of a stream: what an ack frame says. */
export interface StreamAck {
  readonly durableSeq: number;
  /** Raw bytes beyond durableSeq that the receiver takes. */
  readonly creditBytes: number;
}

/**
 * One opened stream at the recovering side. The host gives every `open` that arrives a number that it never uses again (a reopened stream on the same
 * TCP connection is another one): what an older stream still sends or is still told can then never be taken for the new one's.
 */
export type ConnectionId = number;

export interface ReceiverOptions {
  readonly vpgId: string;
  readonly vmId: string;
  /** Ownership epoch in force here: streams of an older one are fenced. */
  readonly epoch: number;
  readonly volumeSizesBytes: readonly number[];
  /** The mirrors began as disks that somebody had put there. */
  readonly isPreseeded?: boolean;
  /** Default {@link CREDIT_BYTES_MAX}. */
  readonly creditBytesMax?: number;
  /** Memory that credit is given from, and what was received counts against; the host closes it. Not given: unbounded. */
  readonly budget?: BudgetShare;
}

export type JournalState =
  /** Not opened yet: streams are refused with `notReady`. Where a Receiver starts. */
  | 'opening'
  | 'ready'
  /** No space, or paused to keep history: what was taken is kept and acked when durable, nothing new is taken. */
  | 'full'
  /** No more appends to it. The stream is closed and refused. */
  | 'broken';

/** Answer to `beginIncarnation`. */
export type IncarnationResult =
  | {
      readonly openId: number;
      readonly isBegun: true;
      readonly incarnation: number;
      /** Everything appended before is durable up to here; nothing beyond will ever be. */
      readonly durableSeq: number;
      readonly lastSessionId: string | null;
      readonly isBaseComplete: boolean;
      /** As in {@link OpenedReply}. */
      readonly copyingVolumes?: readonly number[];
      /** As in {@link OpenedReply}. */
      readonly newestCheckpointId?: number;
    }
  | { readonly openId: number; readonly isBegun: false; readonly message: string };

/** To be carried out in the order given. */
export type ReceiverEffect =
  /** Send `closeStream` and forget the stream on that connection. */
  | { readonly kind: 'closeStream'; readonly connection: ConnectionId }
  /** Number a new incarnation, make it durable with the session, then call `incarnationBegan`. */
  | {
      readonly kind: 'beginIncarnation';
      readonly openId: number;
      readonly epoch: number;
      readonly sessionId: string;
      /** The sender's acked position: a journal that is not durable up to it has lost data, and un-lists the checkpoints beyond its end. */
      readonly ackedSeq: number;
      /** The stream's list: in force from this incarnation on, and durable before it. */
      readonly volumeSizesBytes: readonly number[];
    }
  | { readonly kind: 'sendOpened'; readonly connection: ConnectionId; readonly reply: OpenedReply }
  | { readonly kind: 'sendRefused'; readonly connection: ConnectionId; readonly reply: RefusedReply }
  /** Append the frame (its body as received) to the journal, in this order. */
  | { readonly kind: 'append'; readonly header: FrameHeader; readonly records: readonly StreamRecord[] }
  | { readonly kind: 'sendAck'; readonly connection: ConnectionId; readonly durableSeq: number; readonly creditBytes: number };

export interface ReceiverStatus {
  readonly state: 'closed' | 'opening' | 'open';
  readonly connection: ConnectionId | null;
  readonly incarnation: number;
  readonly receivedSeq: number;
  readonly durableSeq: number;
  /** Raw bytes received and not durable yet. */
  readonly pendingBytes: number;
}

/** What both engines say to each other, for hosts that pass it on. */
export type { CheckpointMarker, CheckpointSeal, OpenedReply, OpenRequest, RefusedReply };
