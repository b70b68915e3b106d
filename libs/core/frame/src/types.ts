import type { FrameCodec, FrameKind, RecordType } from './layout.js';

export interface FrameHeader {
  readonly kind: FrameKind;
  readonly stream: number;
  readonly incarnation: number;
  readonly epoch: number;
  readonly count: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly bodyBytes: number;
  readonly rawBytes: number;
  readonly bodyCrc: number;
  readonly codec: FrameCodec;
}

/** One record of a stream. `payload` is undefined where the type has none. */
export interface StreamRecord {
  readonly type: RecordType;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly payload: Uint8Array | undefined;
}

/** Payload of a marker record: enough that the list of checkpoints follows from the journals alone. */
export interface CheckpointMarker {
  readonly vpgId: string;
  readonly checkpointId: number;
  readonly epoch: number;
  readonly term: number;
  readonly vmIds: readonly string[];
  /** The leader's wall clock before it sent `mark`, ms since 1970. */
  readonly atMs: number;
  /** Age of the checkpoint when the marker was put into this stream (leader's time to mark, one way estimated), ms. */
  readonly ageMs: number;
  readonly tag: string | null;
  readonly kind: 'automatic' | 'tagged' | 'applicationConsistent';
}

export interface CheckpointSeal {
  readonly vpgId: string;
  readonly checkpointId: number;
  readonly term: number;
}

export type SyncKind = 'initialSync' | 'deltaSync' | 'bitmapSync';

export interface SyncStart {
  readonly kind: SyncKind;
  readonly reason: string;
}
