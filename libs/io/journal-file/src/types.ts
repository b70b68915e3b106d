import type { Crc32c, MonotonicMs, WallClockMs } from '@tidemark/base';
import type { FrameCodec } from '@tidemark/frame';
import type { JournalIdentity, JournalState } from '@tidemark/journal';
import type { Volume } from '@tidemark/volume';
import type { FileLayer } from './file-layer.js';
import type { ReadCache } from './read-cache.js';

/** Turns a body back into `rawBytes` bytes. Throws on bytes that do not decompress to exactly that. */
export type Decompress = (codec: FrameCodec, body: Uint8Array, rawBytes: number) => Uint8Array;

export interface JournalVolume {
  /** Written into the journal, for people. */
  readonly diskId?: string;
  readonly sizeBytes: number;
  /** The mirror volume; owned by the caller, closed by nobody here. */
  readonly mirror: Volume;
}

export interface JournalFileOptions {
  /** Made when missing. Holds only this journal's segments. */
  readonly folder: string;
  readonly identity: JournalIdentity;
  readonly volumes: readonly JournalVolume[];
  /** Ownership epoch of a journal that is made now; an existing journal knows its own. */
  readonly epoch: number;
  readonly clocks: { readonly monotonicMs: MonotonicMs; readonly wallClockMs: WallClockMs };
  readonly crc32c?: Crc32c;
  readonly decompress?: Decompress;
  /** A segment is closed when it is at least this long; default 64 MiB. */
  readonly segmentBytes?: number;
  /** How many more bytes the datastore's declared capacity allows; asked before frames are written. Below the frame's size: `full`. */
  readonly spaceGuard?: () => number;
  /** When all files were read and before one but an index is changed. Rejects: the journal is not opened. */
  readonly beforeChange?: () => Promise<void>;
  /** Read every segment through, whatever an index says of it: damage was found. */
  readonly isIndexDistrusted?: boolean;
  /** Cached decompressed frames for views and apply; default 32 MiB. */
  readonly cacheBytesMax?: number;
  /** What all journals of a process may keep of what views read; absent: this one has its own. */
  readonly readCache?: ReadCache;
  readonly files?: FileLayer;
  /** Everything up to `seq` is durable: acknowledge it now. */
  readonly onDurable: (seq: number) => void;
  readonly onCheckpointsChanged: (lastChange: number) => void;
  readonly onState: (state: JournalState) => void;
  /** An index file could not be written: the journal goes on, views find what is missing in memory. It is tried again. For the log. */
  readonly onIndexFailed?: (error: unknown) => void;
  /** An index file did not read back as it was written: it is dropped, and made again from its segments. For the log. */
  readonly onIndexDamaged?: (path: string) => void;
}

export interface JournalFileStats {
  readonly state: JournalState;
  readonly durableSeq: number;
  readonly appliedSeq: number;
  /** In the segments that are there, applied or not. */
  readonly retainedWrites: number;
  /** Memory of the index, for all views together. */
  readonly indexMemoryBytes: number;
  /** Sealed segments whose index file is not written yet. */
  readonly unindexedSegments: number;
  readonly indexFiles: readonly { readonly firstSegment: number; readonly lastSegment: number; readonly entryCount: number }[];
  /** That did not read back as they were written, since the journal was opened: made again from their segments. */
  readonly damagedIndexFiles: number;
  readonly segmentCount: number;
  /** Bytes of the segment files. */
  readonly journalBytes: number;
  /** That compaction has freed since the journal was opened. */
  readonly compactedBytes: number;
  readonly epoch: number;
  readonly reservedEpoch: number | null;
  /** A failover was committed: the history is closed. */
  readonly isEnded: boolean;
  readonly incarnation: number;
  readonly isBaseComplete: boolean;
  readonly isSyncing: boolean;
  readonly promotion: { readonly checkpointId: number; readonly isDone: boolean } | null;
}

export interface OpenViewOptions {
  readonly checkpointId: number;
  /** Folder of the scratch journal: made when missing, replayed when it has something. Without it the view is read-only. */
  readonly scratchFolder?: string;
  /** How many more bytes scratch may take when it has so many: asked before every write of the guest; too few is VOLUME_FULL. */
  readonly scratchRoomBytes?: (scratchBytes: number) => number;
}

export type ViewPhase = 'open' | 'promoting' | 'promoted' | 'failed';

export interface PromotionProgress {
  readonly promotedBytes: number;
  readonly totalBytes: number;
}
