import { unreachable } from '@tidemark/base';
import { Barrier, type BarrierConfig, type BarrierEffect, type BarrierEvent, type BarrierMessage, type BarrierStatus } from '@tidemark/checkpoint';
import type { CheckpointMarker, CheckpointSeal } from '@tidemark/frame';
import { EngineError } from './engine-error.js';
import type { BarrierSpec, Logger } from './types.js';
import type { VoteStore } from './vote-store.js';

/** What a barrier needs of the rest of the VRA. All of it answers at once. */
export interface BarrierSurroundings {
  readonly selfVraId: string;
  readonly votes: VoteStore;
  readonly log: Logger;
  send(vraId: string, message: BarrierMessage): void;
  isPeerUp(vraId: string): boolean;
  hold(vpgId: string, vmIds: readonly string[]): void;
  release(vpgId: string, vmIds: readonly string[]): void;
  /** undefined: in every stream; else why not. */
  placeMarkers(marker: CheckpointMarker, vmIds: readonly string[]): string | undefined;
  placeSeals(seal: CheckpointSeal, vmIds: readonly string[]): boolean;
  /** undefined: each VM runs here, its capture path stands, and it is still frozen if the marker says so; else why not. Asked of the host when called. */
  confirmCapture(vpgId: string, checkpointId: number, vmIds: readonly string[]): Promise<string | undefined>;
}

const VOTE_RETRY_MS = 1000;

/** Without the event's time: that is read when the event is taken. */
type Untimed<T> = T extends unknown ? Omit<T, 'nowMs' | 'wallMs'> : never;
type HostEvent = Untimed<BarrierEvent>;

interface Insert {
  readonly resolve: (checkpointId: number) => void;
  readonly reject: (error: Error) => void;
}

/** One VPG's barrier engine with real time, streams and connections around it. */
export class BarrierHost {
  readonly #engine: Barrier;
  readonly #events: HostEvent[] = [];
  readonly #inserts = new Map<number, Insert>();
  #isStepping = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  #nextRequest = 1;
  #spec: BarrierSpec;
  #ownVmIds: readonly string[] = [];
  /** Whose completions are held now: a configuration that comes meanwhile may name others. */
  #heldVmIds: readonly string[] = [];
  /** The newest vote that is to be stored: an older one must never be written over it. */
  #vote: { readonly term: number; readonly leaderVraId: string } | undefined;
  #voteTimer: NodeJS.Timeout | undefined;

  constructor(
    spec: BarrierSpec,
    private readonly around: BarrierSurroundings,
  ) {
    this.#spec = spec;
    this.#engine = new Barrier({ selfVraId: around.selfVraId, storedVote: around.votes.of(spec.vpgId) });
    this.configure(spec);
  }

  get spec(): BarrierSpec {
    return this.#spec;
  }

  /** Only a newer version changes who takes part. The engine alone ends a hold: a hold that ended behind its back could still be sealed. */
  configure(spec: BarrierSpec): void {
    this.#spec = spec;
    if (spec.version > this.#engine.status().version) {
      this.#ownVmIds = spec.members.find((member) => member.vra.vraId === this.around.selfVraId)?.vmIds ?? [];
    }
    this.#take({ type: 'configured', config: configOf(spec) });
    for (const { vra } of spec.members) {
      if (vra.vraId !== this.around.selfVraId && this.around.isPeerUp(vra.vraId)) this.peerUp(vra.vraId);
    }
  }

  peerUp(vraId: string): void {
    this.#take({ type: 'peerUp', vraId });
  }

  peerLost(vraId: string): void {
    this.#take({ type: 'peerLost', vraId });
  }

  roundTripMeasured(vraId: string, roundTripMs: number): void {
    this.#take({ type: 'roundTripMeasured', vraId, roundTripMs });
  }

  message(fromVraId: string, message: BarrierMessage): void {
    this.#take({ type: 'message', fromVraId, message });
  }

  /** A journal of the VPG holds this checkpoint; 0: none. */
  numberSeen(checkpointId: number): void {
    if (checkpointId > 0) this.#take({ type: 'numberSeen', checkpointId });
  }

  status(): BarrierStatus {
    return this.#engine.status();
  }

  /** Resolves with the checkpoint's id when every protecting VRA has sealed it; rejects CHECKPOINT_VOID or CHECKPOINT_NOT_LEADER. */
  async insert(tag: string, kind: 'tagged' | 'applicationConsistent'): Promise<number> {
    this.checkLeading();
    const requestId = this.#nextRequest;
    this.#nextRequest += 1;
    return await new Promise((resolve, reject) => {
      this.#inserts.set(requestId, { resolve, reject });
      this.#take({ type: 'insertRequested', requestId, tag, kind });
    });
  }

  /** CHECKPOINT_NOT_LEADER with the leader's id. */
  checkLeading(): void {
    const { leaderVraId, isLeading } = this.#engine.status();
    if (!isLeading) throw new EngineError('CHECKPOINT_NOT_LEADER', leaderVraId ?? '');
  }

  get ownVmIds(): readonly string[] {
    return this.#ownVmIds;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#voteTimer);
    this.#release();
    for (const insert of this.#inserts.values()) insert.reject(new EngineError('CHECKPOINT_VOID', 'the VPG is not protected here any more'));
    this.#inserts.clear();
  }

  /** All effects of one event are carried out before the next event is stepped; answers that come meanwhile wait their turn. */
  #take(event: HostEvent): void {
    if (this.#isClosed) return;
    this.#events.push(event);
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      for (let next = this.#events.shift(); next; next = this.#events.shift()) {
        const effects: BarrierEffect[] = [];
        this.#engine.step({ ...next, nowMs: performance.now(), wallMs: Date.now() }, effects);
        for (const effect of effects) this.#carryOut(effect);
      }
    } finally {
      this.#isStepping = false;
    }
  }

  #carryOut(effect: BarrierEffect): void {
    const { vpgId } = this.#spec;
    switch (effect.type) {
      case 'send':
        return this.around.send(effect.vraId, effect.message);
      case 'hold':
        this.#heldVmIds = this.#ownVmIds;
        return this.around.hold(vpgId, this.#heldVmIds);
      case 'release':
        return this.#release();
      case 'placeMarkers':
        return this.#placeMarkers(effect.marker, effect.vmIds);
      case 'placeSeals': {
        const isPlaced = this.around.placeSeals(effect.seal, effect.vmIds);
        return this.#take({ type: 'sealsPlaced', checkpointId: effect.seal.checkpointId, isPlaced });
      }
      case 'confirmCapture':
        return this.#confirmCapture(effect.checkpointId, effect.vmIds);
      case 'storeTerm':
        return this.#storeTerm(effect.vote);
      case 'wakeAt':
        return this.#wakeAt(effect.atMs);
      case 'sealed':
        this.#inserts.get(effect.requestId)?.resolve(effect.checkpointId);
        this.#inserts.delete(effect.requestId);
        return;
      case 'voided':
        this.#inserts.get(effect.requestId)?.reject(new EngineError('CHECKPOINT_VOID', effect.reason));
        this.#inserts.delete(effect.requestId);
        return;
      default:
        return unreachable(effect);
    }
  }

  #release(): void {
    this.around.release(this.#spec.vpgId, this.#heldVmIds);
    this.#heldVmIds = [];
  }

  #placeMarkers(marker: CheckpointMarker, vmIds: readonly string[]): void {
    const { checkpointId } = marker;
    const reason = this.around.placeMarkers(marker, vmIds);
    this.#take(reason === undefined ? { type: 'markersPlaced', checkpointId } : { type: 'markersRefused', checkpointId, reason });
  }

  #confirmCapture(checkpointId: number, vmIds: readonly string[]): void {
    const confirmed = this.around.confirmCapture(this.#spec.vpgId, checkpointId, vmIds).catch((error: unknown) => String(error));
    void confirmed.then((reason) => {
      this.#take({ type: 'captureConfirmed', checkpointId, isConfirmed: reason === undefined, reason: reason ?? '' });
    });
  }

  /** Until it is stored this VRA takes no part; so it is tried until it is, or until a newer vote takes its place. */
  #storeTerm(vote: { readonly term: number; readonly leaderVraId: string }): void {
    this.#vote = vote;
    void this.around.votes.save(this.#spec.vpgId, vote).then(
      () => this.#take({ type: 'termStored', ...vote }),
      (error: unknown) => {
        if (this.#isClosed || this.#vote !== vote) return;
        this.around.log.error({ vpgId: this.#spec.vpgId, error: String(error) }, 'cannot make the barrier vote durable: no checkpoints from here until it is');
        this.#voteTimer = setTimeout(() => this.#vote === vote && this.#storeTerm(vote), VOTE_RETRY_MS);
      },
    );
  }

  #wakeAt(atMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#take({ type: 'tick' }), Math.max(0, atMs - performance.now()));
  }
}

function configOf(spec: BarrierSpec): BarrierConfig {
  return {
    vpgId: spec.vpgId,
    version: spec.version,
    epoch: spec.epoch,
    intervalMs: spec.intervalMs,
    members: spec.members.map(({ vra, vmIds }) => ({ vraId: vra.vraId, vmIds })),
  };
}
