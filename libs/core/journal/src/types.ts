import type { CheckpointMarker, FrameHeader, StreamRecord } from '@tidemark/frame';
import type { JournalError } from './journal-error.js';
import type { VolumeWish } from './volume-set.js';

/** Whose journal it is. Written into every segment and compared on open. */
export interface JournalIdentity {
  readonly vpgId: string;
  readonly vmId: string;
}

/**
 * `open`: takes frames. `full`: no space, cut back to the last committed record, takes control records only. `broken`: storage failed or
 * acknowledged bytes are corrupt; checkpoints before the break are readable; until `reopen` only control records are taken. `ended`: a failover was committed.
 */
export type JournalPhase = 'open' | 'full' | 'broken' | 'ended';

export interface JournalState {
  readonly phase: JournalPhase;
  /** For people: why it is full or broken; empty otherwise. */
  readonly reason: string;
}

/** A checkpoint whose marker and seal are durable in this journal, of one incarnation and term, with no sync under way at the marker. */
export interface HeldCheckpoint {
  readonly checkpointId: number;
  readonly marker: CheckpointMarker;
  /** The image is what the records with a lower seq leave. */
  readonly markerSeq: number;
  readonly incarnation: number;
  /** Arrival of the marker on this process's monotonic clock. After a restart the time that the process was down is not counted, so age is never overstated. */
  readonly arrivedMs: number;
  /** Arrival on the wall clock, ms since 1970: for people and for RPO across a restart. */
  readonly arrivedAtMs: number;
}

/** Answer to {@link JournalCommand} `beginIncarnation`; the facts that `opened` carries to the sender. */
export interface IncarnationBegun {
  readonly incarnation: number;
  readonly durableSeq: number;
  /** Session of the incarnation before; null when this is the first. */
  readonly lastSessionId: string | null;
  readonly isBaseComplete: boolean;
  /** Volumes that were added and are not whole yet. */
  readonly copyingVolumes: readonly number[];
}

/** `afterChange`: the changes behind that number. Without it the list itself, from behind `afterCheckpointId` on. */
export interface ListingQuestion {
  readonly afterChange?: number | undefined;
  readonly afterCheckpointId?: number | undefined;
}

/** A bounded part of what is held, or of what changed; see docs/spec/checkpoint.md, "Reading a journal's list". */
export interface ListingPage {
  /** isWhole: of the list now; else of the last change on this page. */
  readonly lastChange: number;
  /** True: `held` is part of the list itself; also when the changes that were asked for are not remembered. */
  readonly isWhole: boolean;
  /** More follows behind the last checkpoint (isWhole) or change of this page. */
  readonly isMore: boolean;
  readonly held: readonly HeldCheckpoint[];
  readonly dropped: readonly number[];
}

/** Where a frame record starts in the journal. */
export interface FramePlace {
  readonly segment: number;
  readonly at: number;
}

/** A request that is answered when what it asks for is durable. `request` is chosen by the caller and comes back in `answered` or `refused`. */
export type JournalCommand =
  | { readonly type: 'beginIncarnation'; readonly request: number; readonly sessionId: string; readonly epoch: number }
  /** The volumes from here on, removed ones (0 bytes) included; frames that were taken in before are of the set before. */
  | { readonly type: 'changeVolumes'; readonly request: number; readonly volumes: readonly VolumeWish[] }
  | { readonly type: 'reserveEpoch' | 'commitEpoch' | 'burnEpoch'; readonly request: number; readonly epoch: number }
  /** Drops every checkpoint older than this one, which becomes the oldest. */
  | { readonly type: 'retire'; readonly request: number; readonly checkpointId: number }
  /** Drops these checkpoints and no write: those that are not held, pinned ones, the oldest and the newest are passed over. */
  | { readonly type: 'thin'; readonly request: number; readonly checkpointIds: readonly number[] }
  /** Everyone of the VPG has the retirement durable: the mirror may roll forward to this checkpoint. Answered when it has. */
  | { readonly type: 'allowApply'; readonly request: number; readonly checkpointId: number }
  /** From now on the mirrors belong to this checkpoint's view alone. Only after commitEpoch. */
  | { readonly type: 'startPromotion'; readonly request: number; readonly checkpointId: number }
  /** The mirrors, synced by the caller, are the whole disks. */
  | { readonly type: 'finishPromotion'; readonly request: number; readonly checkpointId: number };

export type StorageFailure = 'noSpace' | 'io';

/** Who a mirror effect is of, both may be at it while a volume is being added: the copy of a base (`mirrorWrite`), or an apply (`mirrorReplay`). */
export type MirrorOwner = 'direct' | 'apply';

/**
 * What happened to an effect. Every file or mirror effect gets exactly one of these; at most one `append`, one `sync`, one of
 * create/truncate/remove, one mirror effect of an apply, one `mirrorWrite` and one direct `mirrorSync` are in flight, and create, truncate only while append and sync are idle.
 */
export type JournalCompletion =
  | { readonly type: 'appended' }
  | { readonly type: 'appendFailed'; readonly reason: StorageFailure; readonly detail: string }
  | { readonly type: 'synced' }
  | { readonly type: 'syncFailed'; readonly detail: string }
  | { readonly type: 'segmentCreated' }
  | { readonly type: 'segmentCreateFailed'; readonly reason: StorageFailure; readonly detail: string }
  | { readonly type: 'truncated' }
  | { readonly type: 'truncateFailed'; readonly detail: string }
  | { readonly type: 'segmentRemoved' }
  | { readonly type: 'segmentRemoveFailed'; readonly detail: string }
  | { readonly type: 'mirrorWritten' }
  /** The mirrors have everything up to `lastSeq`; the next replay of this segment begins at `at`, with this record. See `Replay`. */
  | { readonly type: 'mirrorReplayed'; readonly lastSeq: number; readonly at: number; readonly recordNo: number }
  | { readonly type: 'mirrorSynced'; readonly owner: MirrorOwner }
  | { readonly type: 'mirrorFailed'; readonly owner: MirrorOwner; readonly reason: StorageFailure; readonly detail: string };

export type JournalEvent =
  | JournalCommand
  | JournalCompletion
  /**
   * A frame as received; `records` is its decoded table. `body` and payloads are handed over; `onSettled` says that the journal keeps nothing of
   * them any more, on disk or never. Check with `Journal.frameError` first: a wrong frame here is an assertion.
   */
  | {
      readonly type: 'append'; readonly header: FrameHeader; readonly body: Uint8Array; readonly records: readonly StreamRecord[];
      readonly onSettled?: ((outcome: 'durable' | 'full' | 'failed') => void) | undefined;
    }
  /** Space may be there again: leave `full` and find out. */
  | { readonly type: 'resume' }
  /** What the broken generations hold was read back and is whole: frames are taken again, into the new generation. Only while `canReopen`. */
  | { readonly type: 'reopen' }
  /** The caller's space guard says that the datastore's share is used up. */
  | { readonly type: 'guardReached'; readonly detail: string }
  /** A view or failover needs this checkpoint and, if it is reading, the segments below it. `key` names the holder. */
  | { readonly type: 'pin'; readonly key: string; readonly checkpointId: number; readonly isReading: boolean }
  /** The same for the image at the durable position of now, which no checkpoint needs to mark. */
  | { readonly type: 'pinHead'; readonly key: string }
  | { readonly type: 'unpin'; readonly key: string }
  /** So many bytes are wanted: of files that a generation has cut off, as far as there are any. */
  | { readonly type: 'freeCutOff'; readonly bytes: number };

/**
 * Read the records of a segment back, from byte `at` on, and write what they hold with afterSeq < seq <= throughSeq into the mirrors, in order; but not what is
 * up to the volume's baseSeq: the mirror holds it, and newer records that are nowhere else. See `Replay`.
 */
export interface MirrorReplay {
  readonly type: 'mirrorReplay';
  readonly segment: number;
  readonly at: number;
  /** Number of the record at `at`; those behind it follow without gaps. */
  readonly recordNo: number;
  /** End of the segment's records, and the stream position there. */
  readonly endAt: number;
  readonly endSeq: number;
  readonly afterSeq: number;
  readonly throughSeq: number;
  readonly baseSeqs: readonly number[];
  /** Enough for one step: it ends with the frame that reaches this. */
  readonly bytesMax: number;
}

export type JournalEffect =
  /** Make the file with exactly this header; done when file, header and directory entry are durable. Replaces a leftover of the same number. */
  | { readonly type: 'createSegment'; readonly segment: number; readonly header: Uint8Array }
  /** Write the chunks one after the other from byte `at` (the end of the file). Not durable yet. */
  | { readonly type: 'append'; readonly segment: number; readonly at: number; readonly chunks: readonly Uint8Array[] }
  /** fdatasync. Never repeated after a failure. */
  | { readonly type: 'sync'; readonly segment: number }
  /** Cut the file to `bytes`; durable when done. */
  | { readonly type: 'truncateSegment'; readonly segment: number; readonly bytes: number }
  | { readonly type: 'removeSegment'; readonly segment: number }
  /** Write these records (writes, zeroes and their sync kinds; others are skipped) into the mirrors, in order. */
  | { readonly type: 'mirrorWrite'; readonly records: readonly StreamRecord[] }
  | MirrorReplay
  /** fsync of every mirror: covers what was written before. */
  | { readonly type: 'mirrorSync'; readonly owner: MirrorOwner }
  /** Everything up to `seq` survives a crash: only now it may be acknowledged. */
  | { readonly type: 'durable'; readonly seq: number }
  | { readonly type: 'answered'; readonly request: number; readonly answer: IncarnationBegun | undefined }
  | { readonly type: 'refused'; readonly request: number; readonly error: JournalError }
  | { readonly type: 'checkpointsChanged'; readonly lastChange: number }
  /** On `full` and `broken`, frames that were appended and not announced durable are gone: the stream must be opened again. */
  | { readonly type: 'stateChanged'; readonly state: JournalState };
