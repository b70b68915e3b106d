import type { BarrierMember } from './types.js';

/**
 * A checkpoint id in retirement always names the checkpoint that *stays* as the oldest one: everything older is dropped, and mirrors
 * may roll forward to it.
 */
/** Who recovers the VMs of one VPG: the first one leads retirement. */
export interface RetirementConfig {
  readonly vpgId: string;
  readonly epoch: number;
  readonly recoverers: readonly BarrierMember[];
  /** How far back the user wants to go. */
  readonly historyMs: number;
}

/** One listed checkpoint; `ageMs` on the recovery side's persisted running time. */
export interface AgedCheckpoint {
  readonly checkpointId: number;
  readonly ageMs: number;
}

export interface RetirementOptions {
  readonly selfVraId: string;
  /** The checkpoint up to which every journal of this VRA is durably retired (the lowest over its VMs); 0: none. */
  readonly retiredId: number;
  /** How long a promise not to pin stands, and the leader waits for answers, ms. Default 5000. */
  readonly answerTimeoutMs?: number;
}

export type RetirementEvent = { readonly nowMs: number } & (
  | { readonly type: 'configured'; readonly config: RetirementConfig }
  | { readonly type: 'tick' }
  | { readonly type: 'peerUp'; readonly vraId: string }
  | { readonly type: 'peerLost'; readonly vraId: string }
  | { readonly type: 'message'; readonly fromVraId: string; readonly message: RetirementMessage }
  /**
   * What is listed for the whole VPG (every VM's journal holds it), any order; only the leader needs it. Give it now and then
   * (every few seconds), without those whose age is in doubt ({@link RunningClock}).
   */
  | {
      readonly type: 'listed';
      readonly checkpoints: readonly AgedCheckpoint[];
      /** One that every journal of the VPG holds and that is to become the oldest whatever its age, because a journal nears its hard limit; absent or 0: none. */
      readonly spaceId?: number;
    }
  /** Answer of `askPins`. */
  | { readonly type: 'pinsAnswered'; readonly checkpointId: number; readonly isFree: boolean; readonly reason: string }
  /** Answer of `makeRetired`: durable in the journal of each own VM, or not known to be. */
  | { readonly type: 'retired'; readonly checkpointId: number; readonly isDurable: boolean; readonly reason: string }
);

export type RetirementEffect =
  | { readonly type: 'send'; readonly vraId: string; readonly message: RetirementMessage }
  /**
   * May this checkpoint become the oldest one here: does the journal of each own VM hold it, and is nothing older pinned by a view,
   * failover or backup? (Without the first half a VRA whose stream stood still for long would lose its last checkpoint.)
   * After a yes `canPin` refuses older ones until the promise ends.
   */
  | { readonly type: 'askPins'; readonly checkpointId: number; readonly vmIds: readonly string[] }
  /** Make it durable in the journal of each own VM: everything older is dropped. Nothing may be applied yet. Idempotent. */
  | { readonly type: 'makeRetired'; readonly checkpointId: number; readonly vmIds: readonly string[] }
  /** Durable everywhere: each own VM may roll its mirror forward to this checkpoint. Comes again after restarts. */
  | { readonly type: 'allowApply'; readonly checkpointId: number; readonly vmIds: readonly string[] }
  | { readonly type: 'wakeAt'; readonly atMs: number };

interface MessageBase {
  readonly type: 'retirement';
  readonly vpgId: string;
  readonly epoch: number;
  readonly checkpointId: number;
}

export type RetirementMessage = MessageBase &
  (
    | { readonly kind: 'ask' }
    | { readonly kind: 'free' }
    | { readonly kind: 'retire' }
    | { readonly kind: 'retired' }
    | { readonly kind: 'refused'; readonly reason: string }
    | { readonly kind: 'withdraw' }
    | { readonly kind: 'allow' }
  );

export interface RetirementStatus {
  readonly isLeading: boolean;
  /** Everything older is retired in every journal of the VPG. */
  readonly allowedId: number;
  readonly phase: 'idle' | 'asking' | 'retiring';
  /** Why the last attempt ended without success; null after a success. */
  readonly lastRefusal: string | null;
}
