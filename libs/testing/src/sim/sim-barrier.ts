import { unreachable } from '@tidemark/base';
import { Barrier, type BarrierEffect, type BarrierEvent, type BarrierOptions, type BarrierStatus, type TermVote } from '@tidemark/checkpoint';
import type { CheckpointMarker, CheckpointSeal } from '@tidemark/frame';
import type { SimHost, Surroundings } from './sim-host.js';

/** The streams and guests of a host, as its barrier needs them. */
export interface BarrierPlace {
  readonly host: SimHost;
  readonly around: Surroundings;
  hold(): void;
  release(): void;
  /** Empty: in every stream; else why not. */
  placeMarkers(marker: CheckpointMarker, vmIds: readonly string[]): string;
  placeSeals(seal: CheckpointSeal, vmIds: readonly string[]): boolean;
  confirmsCapture(vmIds: readonly string[]): boolean;
  storeVote(vote: TermVote): void;
}

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs' | 'wallMs'> : never;

/** The barrier engine of one host, with its planted bugs. */
export class SimBarrier {
  readonly #engine: Barrier;
  readonly #effects: BarrierEffect[] = [];
  #isDraining = false;
  /** For a planted bug: marked, and neither sealed nor forgotten. */
  #unsealed: { readonly seal: CheckpointSeal; readonly vmIds: readonly string[] } | undefined;
  #isEnded = false;

  constructor(private readonly place: BarrierPlace, options: BarrierOptions) {
    this.#engine = new Barrier(options);
  }

  status(): BarrierStatus {
    return this.#engine.status();
  }

  peerUp(vraId: string): void {
    this.take({ type: 'peerUp', vraId });
    this.take({ type: 'roundTripMeasured', vraId, roundTripMs: 1 });
  }

  /** The VPG has no VM here any more: holds end with the sinks. */
  end(): void {
    this.place.release();
    this.#isEnded = true;
  }

  take(event: Untimed<BarrierEvent>): void {
    if (this.#isEnded) return;
    const { nowMs, wallMs } = this.place.host;
    // Answers that come while an effect is carried out step the engine again: their effects follow these.
    this.#engine.step({ ...event, nowMs, wallMs } as BarrierEvent, this.#effects);
    if (this.#isDraining) return;
    this.#isDraining = true;
    for (let effect = this.#effects.shift(); effect !== undefined; effect = this.#effects.shift()) this.#carryOut(effect);
    this.#isDraining = false;
  }

  #carryOut(effect: BarrierEffect): void {
    const { place } = this;
    const { host, around } = place;
    switch (effect.type) {
      case 'send': return this.#send(effect);
      case 'hold': return place.hold();
      case 'release': {
        place.release();
        const late = this.#unsealed;
        this.#unsealed = undefined;
        if (around.plant?.flag === 'sealedLate' && late !== undefined) host.after(around.world.random.below(20), () => void place.placeSeals(late.seal, late.vmIds));
        return;
      }
      case 'placeMarkers': return this.#placeMarkers(effect);
      case 'placeSeals':
        this.#unsealed = undefined;
        return this.take({ type: 'sealsPlaced', checkpointId: effect.seal.checkpointId, isPlaced: place.placeSeals(effect.seal, effect.vmIds) });
      case 'confirmCapture': return this.#confirm(effect);
      case 'storeTerm': return this.#storeVote(effect.vote);
      case 'wakeAt': return host.after((effect.atMs - host.nowMs) / host.clockRate, () => this.take({ type: 'tick' }));
      case 'sealed': case 'voided': return;
      default: return unreachable(effect);
    }
  }

  #send({ vraId, message }: Extract<BarrierEffect, { type: 'send' }>): void {
    this.place.host.sendControl(vraId, message);
    if (this.place.around.plant?.flag !== 'releaseHasty' || message.kind !== 'mark') return;
    const { checkpointId, vpgId, version, epoch, term } = message;
    this.take({ type: 'message', fromVraId: vraId, message: { type: 'barrier', kind: 'marked', checkpointId, vpgId, version, epoch, term } });
  }

  #placeMarkers({ marker, vmIds }: Extract<BarrierEffect, { type: 'placeMarkers' }>): void {
    const { vpgId, checkpointId, term } = marker;
    const reason = this.place.placeMarkers(marker, vmIds);
    this.#unsealed = reason === '' ? { seal: { vpgId, checkpointId, term }, vmIds } : undefined;
    this.take(reason === '' ? { type: 'markersPlaced', checkpointId } : { type: 'markersRefused', checkpointId, reason });
  }

  /** Now and then longer than the hold may last. */
  #confirm({ checkpointId, vmIds }: Extract<BarrierEffect, { type: 'confirmCapture' }>): void {
    const { random } = this.place.around.world;
    const isConfirmed = this.place.confirmsCapture(vmIds);
    this.place.host.after(random.below(random.chance(0.1) ? 120 : 4), () => {
      this.take({ type: 'captureConfirmed', checkpointId, isConfirmed, reason: 'the host does not answer' });
    });
  }

  #storeVote(vote: TermVote): void {
    const { host, around } = this.place;
    const isHasty = around.plant?.flag === 'voteHasty';
    const answer = (): void => this.take({ type: 'termStored', ...vote });
    if (isHasty) answer();
    host.after(isHasty ? 3000 : around.world.random.between(0.5, 15), () => {
      this.place.storeVote(vote);
      if (!isHasty) answer();
    });
  }
}
