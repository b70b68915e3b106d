import type { CodecPool } from '@tidemark/link';
import type { MemoryBudget } from '@tidemark/replication';
import type { ActivityLogFile } from './activity-log-file.js';
import type { CompareQuota } from './compare-quota.js';
import type { GuestVm } from './guest-vm.js';
import type { HashPool } from './hash-pool.js';
import type { Outbound, OutboundPeer } from './outbound.js';
import type { SendingStream } from './sending-stream.js';
import type { Logger } from './types.js';

/** What a stream asks of the connection that it shares with others. */
export interface StreamPeer extends OutboundPeer {
  /** A stream number that this connection has not used before: frames of an earlier opening can then never be taken for this one's. */
  numberStream(stream: SendingStream): number;
  /** Frames that still come for its number find nobody. */
  forgetStream(stream: SendingStream): void;
  /** The link took a frame and wants no more, of nobody, until it drains. */
  linkIsFull(): void;
  readonly compares: CompareQuota<SendingStream>;
}

export interface StreamSurroundings {
  readonly guest: GuestVm;
  readonly vraId: string;
  readonly peer: StreamPeer;
  readonly outbound: Outbound;
  readonly codecs: CodecPool;
  readonly budget: MemoryBudget;
  readonly hashPool: HashPool;
  readonly log: Logger;
  /** Which extents a crash leaves in doubt; undefined: all. */
  readonly activity: ActivityLogFile | undefined;
  readonly activityPeriodMs: number | undefined;
  /** The sender failed by a bug of ours: this stream does nothing any more and must be closed. Called in a turn of its own. */
  onBroken(error: unknown): void;
  /** Of the newest checkpoint that the journal at the other end holds; 0: none. */
  onNumberSeen(checkpointId: number): void;
}
