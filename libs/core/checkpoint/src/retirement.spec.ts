import { describe, expect, it } from '@jest/globals';
import { unreachable } from '@tidemark/base';
import { decodeControlMessage, encodeControlMessage, oldestToKeep, Retirement, type RetirementConfig, type RetirementEffect, type RetirementEvent } from './index.js';

const CONFIG: RetirementConfig = {
  vpgId: 'vpg', epoch: 1, historyMs: 1000,
  recoverers: [{ vraId: 'r1', vmIds: ['vm1'] }, { vraId: 'r2', vmIds: ['vm2'] }, { vraId: 'r3', vmIds: ['vm3'] }],
};
/** Newest 9, ages 100 … 1700 ms: 5 is the newest that is 1000 ms old or older. */
const LISTED = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((checkpointId) => ({ checkpointId, ageMs: (9 - checkpointId) * 200 + 100 + (checkpointId < 6 ? 200 : 0) }));

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;
interface Place {
  engine: Retirement;
  isUp: boolean;
  durable: number;
  applied: number;
  pin: number;
  canStore: boolean;
}

/** Three recoverers; messages arrive at once, answers of hosts too, unless `isSlow` keeps them. */
class Recoverers {
  nowMs = 0;
  isSlow = false;
  readonly waiting: (() => void)[] = [];
  readonly places = new Map<string, Place>();

  constructor() {
    for (const { vraId } of CONFIG.recoverers) this.#start(vraId, { durable: 0, applied: 0, pin: Infinity, canStore: true });
    for (const { vraId } of CONFIG.recoverers) this.connect(vraId);
  }

  place(vraId: string): Place {
    const place = this.places.get(vraId);
    if (place === undefined) throw new Error(vraId);
    return place;
  }

  restart(vraId: string): void {
    const { durable, applied, pin, canStore } = this.place(vraId);
    this.lose(vraId);
    this.#start(vraId, { durable, applied, pin, canStore });
    this.connect(vraId);
  }

  lose(vraId: string): void {
    this.place(vraId).isUp = false;
    for (const other of this.places.keys()) if (other !== vraId) this.take(other, { type: 'peerLost', vraId });
  }

  connect(vraId: string): void {
    this.place(vraId).isUp = true;
    for (const other of this.places.keys()) {
      if (other === vraId || !this.place(other).isUp) continue;
      this.take(other, { type: 'peerUp', vraId });
      this.take(vraId, { type: 'peerUp', vraId: other });
    }
  }

  take(vraId: string, event: Untimed<RetirementEvent>): void {
    const place = this.place(vraId);
    const effects: RetirementEffect[] = [];
    place.engine.step({ ...event, nowMs: this.nowMs } as RetirementEvent, effects);
    for (const effect of effects) this.#carryOut(vraId, place, effect);
  }

  get applied(): number[] {
    return [...this.places.values()].map((place) => place.applied);
  }

  #start(vraId: string, rest: Pick<Place, 'durable' | 'applied' | 'pin' | 'canStore'>): void {
    this.places.set(vraId, { ...rest, isUp: true, engine: new Retirement({ selfVraId: vraId, retiredId: rest.durable }) });
    this.take(vraId, { type: 'configured', config: CONFIG });
  }

  #carryOut(vraId: string, place: Place, effect: RetirementEffect): void {
    switch (effect.type) {
      case 'send': {
        const message = decodeControlMessage(encodeControlMessage(effect.message));
        if (message.type === 'retirement' && this.place(effect.vraId).isUp) this.take(effect.vraId, { type: 'message', fromVraId: vraId, message });
        return;
      }
      case 'askPins': {
        const isFree = place.pin >= effect.checkpointId;
        return this.take(vraId, { type: 'pinsAnswered', checkpointId: effect.checkpointId, isFree, reason: 'a failover test needs it' });
      }
      case 'makeRetired': {
        const answer = (): void => {
          if (place.canStore) place.durable = Math.max(place.durable, effect.checkpointId);
          this.take(vraId, { type: 'retired', checkpointId: effect.checkpointId, isDurable: place.canStore, reason: 'disk' });
        };
        return this.isSlow ? void this.waiting.push(answer) : answer();
      }
      case 'allowApply':
        // What may never happen: applied anywhere before durable everywhere.
        expect([...this.places.values()].every((other) => other.durable >= effect.checkpointId)).toBe(true);
        place.applied = effect.checkpointId;
        return;
      case 'wakeAt': return;
      default: return unreachable(effect);
    }
  }
}

describe('which checkpoint stays as the oldest', () => {
  it('is the newest one that is as old as the history window, so that the whole window can be reached', () => {
    expect(oldestToKeep(LISTED, 1000)).toBe(5);
  });

  it('is none while nothing is old enough, and the newest one stays however old it is', () => {
    expect(oldestToKeep(LISTED.slice(6), 1000)).toBeUndefined();
    expect(oldestToKeep([{ checkpointId: 9, ageMs: 1e9 }], 1000)).toBe(9);
  });
});

describe('agreement on retirement', () => {
  it('applies everywhere once it is durable everywhere', () => {
    const all = new Recoverers();
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    expect(all.applied).toEqual([5, 5, 5]);
    expect(all.place('r1').engine.status()).toMatchObject({ isLeading: true, allowedId: 5, phase: 'idle', lastRefusal: null });
  });

  it('only the first recoverer leads', () => {
    const all = new Recoverers();
    all.take('r2', { type: 'listed', checkpoints: LISTED });
    expect(all.applied).toEqual([0, 0, 0]);
  });

  it('nobody retires, not even durably, while one is out of reach or pins something older', () => {
    const all = new Recoverers();
    all.lose('r3');
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    expect(all.place('r1').engine.status().lastRefusal).toContain('r3');
    all.connect('r3');
    all.place('r2').pin = 4;
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    expect(all.place('r1').engine.status().lastRefusal).toContain('failover test');
    expect([...all.places.values()].map((place) => place.durable)).toEqual([0, 0, 0]);
    all.place('r2').pin = 5;
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    expect(all.applied).toEqual([5, 5, 5]);
  });

  it('refuses pins below what is being retired, until it is done', () => {
    const all = new Recoverers();
    all.isSlow = true;
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    expect(all.place('r2').engine.canPin(4, all.nowMs)).toBe(false);
    expect(all.place('r2').engine.canPin(5, all.nowMs)).toBe(true);
    for (const answer of all.waiting.splice(0)) answer();
    expect(all.applied).toEqual([5, 5, 5]);
  });

  it('a recoverer that cannot make it durable stops it; the next attempt ends what others have begun', () => {
    const all = new Recoverers();
    all.place('r3').canStore = false;
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    expect(all.applied).toEqual([0, 0, 0]);
    expect(all.place('r2').durable).toBe(5);
    all.place('r3').canStore = true;
    all.take('r1', { type: 'listed', checkpoints: [] });
    expect(all.applied).toEqual([5, 5, 5]);
  });

  it('a recoverer lost while it makes it durable, and a leader restarted then, apply nothing too early and all in the end', () => {
    const all = new Recoverers();
    all.isSlow = true;
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    all.lose('r3');
    const [first, second] = all.waiting.splice(0);
    first?.();
    second?.();
    expect(all.applied).toEqual([0, 0, 0]);
    all.restart('r1');
    all.connect('r3');
    all.isSlow = false;
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    expect(all.applied).toEqual([5, 5, 5]);
  });

  it('a recoverer that restarts before the permission gets it again', () => {
    const all = new Recoverers();
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    all.place('r2').applied = 0;
    all.restart('r2');
    expect(all.applied).toEqual([5, 5, 5]);
  });

  it('gives up when an answer does not come in time', () => {
    const all = new Recoverers();
    all.isSlow = true;
    all.take('r1', { type: 'listed', checkpoints: LISTED });
    all.nowMs = 5000;
    all.take('r1', { type: 'tick' });
    const { phase, lastRefusal } = all.place('r1').engine.status();
    expect(phase).toBe('idle');
    expect(lastRefusal).toContain('no answer');
    for (const answer of all.waiting.splice(0)) answer();
    expect(all.applied).toEqual([0, 0, 0]);
  });
});
