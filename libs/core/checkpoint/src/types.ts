import type { CheckpointMarker, CheckpointSeal } from '@tidemark/frame';

/** A VRA that protects VMs of the VPG, in order of succession. */
export interface BarrierMember {
  readonly vraId: string;
  readonly vmIds: readonly string[];
}

/** Who makes checkpoints of one VPG. The newest version wins; messages of any other version are refused. */
export interface BarrierConfig {
  readonly vpgId: string;
  readonly version: number;
  readonly epoch: number;
  /** Between two automatic checkpoints. */
  readonly intervalMs: number;
  readonly members: readonly BarrierMember[];
}

/** The one leader that a VRA obeys in a term: durable before it obeys, so that no term ever has two leaders. */
export interface TermVote {
  readonly term: number;
  readonly leaderVraId: string;
}

export interface BarrierOptions {
  readonly selfVraId: string;
  /** What `storeTerm` made durable last, read back at start; null: nothing yet. */
  readonly storedVote: TermVote | null;
  /** Longest hold of guest completions, ms. Default 50. */
  readonly holdBoundMs?: number;
  /** How long a leader waits for every VRA to report its seal before it answers a request with `voided`, ms. Default 5000. */
  readonly outcomeTimeoutMs?: number;
}

export type CheckpointKind = CheckpointMarker['kind'];

/** Time of an event, read by the host once per event. */
export interface BarrierTime {
  /** Monotonic, ms. */
  readonly nowMs: number;
  /** Wall clock, ms since 1970. */
  readonly wallMs: number;
}

export type BarrierEvent = BarrierTime &
  (
    | { readonly type: 'configured'; readonly config: BarrierConfig }
    /** A `wakeAt` is due (harmless earlier or more often). */
    | { readonly type: 'tick' }
    /** The 4007 connection to a VRA works in both directions. Other VRAs than members are ignored. */
    | { readonly type: 'peerUp'; readonly vraId: string }
    | { readonly type: 'peerLost'; readonly vraId: string }
    | { readonly type: 'roundTripMeasured'; readonly vraId: string; readonly roundTripMs: number }
    | { readonly type: 'message'; readonly fromVraId: string; readonly message: BarrierMessage }
    | { readonly type: 'insertRequested'; readonly requestId: number; readonly tag: string | null; readonly kind: CheckpointKind }
    /** Answer of `placeMarkers`: in every stream of this VRA, or in none that counts. May be given while the effect is carried out. */
    | { readonly type: 'markersPlaced'; readonly checkpointId: number }
    | { readonly type: 'markersRefused'; readonly checkpointId: number; readonly reason: string }
    /** Answer of `confirmCapture`. */
    | { readonly type: 'captureConfirmed'; readonly checkpointId: number; readonly isConfirmed: boolean; readonly reason: string }
    /** Answer of `placeSeals`: false when a stream began a new incarnation, or fell back to its bitmap, since the marker. */
    | { readonly type: 'sealsPlaced'; readonly checkpointId: number; readonly isPlaced: boolean }
    /**
     * A journal of the VPG holds a checkpoint of this number. When no vote tells of its term (the file of votes was lost) the leader takes a higher
     * one, for a journal lists no number that does not grow.
     */
    | { readonly type: 'numberSeen'; readonly checkpointId: number }
    /** Answer of `storeTerm`: durable. (A failed store is not answered; this VRA then takes no part.) */
    | { readonly type: 'termStored'; readonly term: number; readonly leaderVraId: string }
  );

/** Effects are carried out in the order given, all of them before the next event's effects. */
export type BarrierEffect =
  | { readonly type: 'send'; readonly vraId: string; readonly message: BarrierMessage }
  /** From now on hold the completions of writes of this VRA's VMs of the VPG, and reads that overlap a held write. */
  | { readonly type: 'hold' }
  | { readonly type: 'release' }
  /** Put the marker into the stream of each own VM, in one turn; refuse if one of them is not replicating. */
  | { readonly type: 'placeMarkers'; readonly marker: CheckpointMarker; readonly vmIds: readonly string[] }
  /** Ask the host, now: does each VM still run here, and does every capture path stand since the marker? */
  | { readonly type: 'confirmCapture'; readonly checkpointId: number; readonly vmIds: readonly string[] }
  | { readonly type: 'placeSeals'; readonly seal: CheckpointSeal; readonly vmIds: readonly string[] }
  /** Make the vote durable, then answer `termStored`. */
  | { readonly type: 'storeTerm'; readonly vote: TermVote }
  /** Send `tick` then; replaces the time asked for before. */
  | { readonly type: 'wakeAt'; readonly atMs: number }
  /** Every protecting VRA has put its seal: the recovery side will list it once it is durable there. */
  | { readonly type: 'sealed'; readonly requestId: number; readonly checkpointId: number }
  | { readonly type: 'voided'; readonly requestId: number; readonly reason: string };

interface MessageBase {
  readonly type: 'barrier';
  readonly vpgId: string;
  readonly version: number;
  readonly epoch: number;
  readonly term: number;
}

/** What VRAs say to each other on 4007. `term` is the sender's vote, except in `claim`, where it is the claimed one. */
export type BarrierMessage = MessageBase &
  (
    /** First on a new connection, and after a new configuration. */
    | { readonly kind: 'hello'; readonly leaderVraId: string | null; readonly isLeading: boolean }
    | { readonly kind: 'claim' }
    | { readonly kind: 'follows' }
    /** The leader lives, though it makes no checkpoint now. */
    | { readonly kind: 'beat' }
    | {
        readonly kind: 'mark';
        readonly checkpointId: number;
        readonly atMs: number;
        /** Monotonic time from `atMs` to this message, at the leader. */
        readonly elapsedMs: number;
        readonly tag: string | null;
        readonly checkpointKind: CheckpointKind;
        readonly vmIds: readonly string[];
      }
    | { readonly kind: 'marked'; readonly checkpointId: number }
    | { readonly kind: 'unmarked'; readonly checkpointId: number; readonly reason: string }
    | { readonly kind: 'release'; readonly checkpointId: number }
    | { readonly kind: 'void'; readonly checkpointId: number; readonly reason: string }
    /** To the leader: this VRA has sealed, or never will. */
    | { readonly kind: 'outcome'; readonly checkpointId: number; readonly isSealed: boolean; readonly reason: string }
    /** The sender obeys `leaderVraId` in `term`; the receiver is behind, or lost the race. */
    | { readonly kind: 'refused'; readonly leaderVraId: string }
  );

export interface BarrierStatus {
  readonly version: number;
  readonly term: number;
  /** null: nobody leads, as far as this VRA knows. */
  readonly leaderVraId: string | null;
  readonly isLeading: boolean;
  readonly isHolding: boolean;
  readonly sealedCount: number;
  readonly voidCount: number;
  /** Why the newest checkpoint was given up; null: it was sealed, or there was none. */
  readonly lastVoidReason: string | null;
  readonly holdMsP50: number;
  readonly holdMsP99: number;
  readonly holdMsMax: number;
  /** Own wall clock minus the leader's, ms, at the last mark; 0 on the leader. Above 1000 in size it alerts. */
  readonly clockOffsetMs: number;
}
