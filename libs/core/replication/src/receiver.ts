import type { FrameHeader, StreamRecord } from '@tidemark/frame';
import type { ConnectionId, IncarnationResult, JournalState, OpenRequest, ReceiverEffect, ReceiverOptions, ReceiverStatus } from './types.js';

/** Signatures first: the host is written against them. */
export declare class Receiver {
  constructor(options: ReceiverOptions);
  open(connection: ConnectionId, request: OpenRequest, effects: ReceiverEffect[]): void;
  incarnationBegan(result: IncarnationResult, effects: ReceiverEffect[]): void;
  frame(connection: ConnectionId, header: FrameHeader, records: readonly StreamRecord[], effects: ReceiverEffect[]): void;
  durable(seq: number, effects: ReceiverEffect[]): void;
  connectionLost(connection: ConnectionId): void;
  journalState(state: JournalState, effects: ReceiverEffect[]): void;
  /** Frames given to `append` were lost before they were durable: the sender must send them again. */
  appendsLost(effects: ReceiverEffect[]): void;
  /** Ownership has moved on: streams of an older epoch are closed and refused. */
  setEpoch(epoch: number, effects: ReceiverEffect[]): void;
  /** The protection has ended here (failover committed): nothing is taken any more. */
  end(effects: ReceiverEffect[]): void;
  status(): ReceiverStatus;
}
