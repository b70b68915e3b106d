import type { CaptureSink, CheckpointMarker, CheckpointSeal, GuestWrite, OpenedReply, OpenRequest, OutgoingFrame, RefusedReply, SenderOptions, SenderStatus, StreamAck, SyncRead } from './types.js';

/** Signatures first: the host is written against them. */
export declare class Sender implements CaptureSink {
  constructor(options: SenderOptions);
  capture(write: GuestWrite): void;
  captureFailed(write: GuestWrite): void;
  placeMarker(marker: CheckpointMarker): boolean;
  placeSeal(seal: CheckpointSeal): boolean;
  /** True when the host should send `open` (after its backoff if the last attempt failed): no stream is open or being opened. */
  get wantsOpen(): boolean;
  openRequest(): OpenRequest;
  opened(reply: OpenedReply): void;
  refused(reply: RefusedReply): void;
  linkDown(): void;
  acked(ack: StreamAck): void;
  nextFrame(rawBytesMax: number): OutgoingFrame | undefined;
  nextSyncRead(): SyncRead | undefined;
  syncReadDone(readId: number, bytes: Uint8Array | 'zeroes'): void;
  syncReadFailed(readId: number): void;
  /** Pieces that could not be read are tried again. Call it every few seconds. */
  retrySyncReads(): void;
  /** Everything is copied again. */
  forceSync(reason: string): void;
  status(): SenderStatus;
  /** Gives the memory back. */
  close(): void;
}
