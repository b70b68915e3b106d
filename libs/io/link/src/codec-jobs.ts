import type { FrameCodec } from '@tidemark/frame';

/** To a worker of the {@link CodecPool}. `bytes` is transferred. */
export type CodecJob =
  | {
      readonly kind: 'compress';
      readonly jobId: number;
      readonly codec: FrameCodec;
      /** The raw body, and behind it whatever else the buffer holds. */
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly rawBytes: number;
      /** A longer result is not worth sending: only its length comes back. */
      readonly packedBytesMax: number;
    }
  | { readonly kind: 'decompress'; readonly jobId: number; readonly codec: FrameCodec; readonly bytes: Uint8Array<ArrayBuffer>; readonly rawBytes: number };

export interface CodecResult {
  readonly jobId: number;
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  readonly packedBytes?: number;
  /** The raw buffer of a compression. */
  readonly spare: Uint8Array<ArrayBuffer> | undefined;
  readonly error: string | undefined;
  readonly cpuMs: number;
}
