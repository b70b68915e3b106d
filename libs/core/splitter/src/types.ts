/** A write of a guest. Without a payload it is zeroes (a trim is turned into zeroes before it comes here). */
export interface GuestWrite {
  /** Index of the volume in its VM. */
  readonly volume: number;
  /** Bytes. */
  readonly offset: number;
  /** Bytes, above 0; the payload's length if there is one. */
  readonly length: number;
  /** Handed over: sinks keep it until it is durable remotely, so nobody may change it. */
  readonly payload: Uint8Array | undefined;
}

export interface GuestRead {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}

/** Where captured writes go: one per protection. Called in the order of completion on the protected volume. */
export interface CaptureSink {
  /** The write is on the protected volume and not yet completed to the guest. Its place in the stream is given here. */
  capture(write: GuestWrite): void;
  /** The write failed on the protected volume: what its range holds now is unknown. The guest sees the error. */
  captureFailed(write: GuestWrite): void;
}

/** Tells when everything that may be on a protected volume has also been captured. {@link Splitter} is one. */
export interface CaptureFence {
  /** A position after every write that has been submitted. */
  fence(): number;
  /** True when every write before that position has been captured, or has failed. */
  isPast(fence: number): boolean;
}

/** To be carried out in the order given. */
export type SplitterEffect =
  /** Write to the protected volume now, then call `localWriteDone`. */
  | { readonly kind: 'writeLocal'; readonly writeId: number }
  /** Read the protected volume now, then answer the guest and call `readDone`. */
  | { readonly kind: 'startRead'; readonly readId: number }
  /** Tell the guest. */
  | { readonly kind: 'complete'; readonly writeId: number; readonly isOk: boolean };
