import { describe, expect, it } from '@jest/globals';
import type { CaPhase } from '@tidemark/trust';
import { type CaFollower, type RotationState, rotationView } from './ca-rotation.js';

const follower = (name: string, trustsNewest: boolean, usesNewest: boolean): CaFollower => ({ name, trustsNewest, usesNewest });

const HOUR_MS = 3_600_000;
const of = (phase: CaPhase, untilOldEndsMs = 3000 * 24 * HOUR_MS): RotationState => ({ phase, untilOldEndsMs });

describe('what a rotation of the CA does next', () => {
  it('nothing while there is one CA', () => {
    expect(rotationView(of('steady'), [follower('a', false, false)])).toEqual({ step: undefined, waitsFor: [] });
  });

  it('signs with the next one when all believe it, and not before', () => {
    expect(rotationView(of('announced'), [follower('a', true, false), follower('b', false, false)])).toEqual({ step: undefined, waitsFor: ['b to believe the next CA'] });
    expect(rotationView(of('announced'), [follower('a', true, false), follower('b', true, false)]).step).toBe('switch');
    expect(rotationView(of('announced'), []).step).toBe('switch');
  });

  it('trusts the old one until nobody shows a certificate of it', () => {
    expect(rotationView(of('switched'), [follower('a', true, true), follower('b', true, false)])).toEqual({ step: undefined, waitsFor: ['b to show a certificate of the new CA'] });
    expect(rotationView(of('switched'), [follower('a', true, true)]).step).toBe('retire');
  });

  it('does not wait beyond the end of the old CA for somebody who may never come: the new one signs a day before it, so that all others have its certificates by then', () => {
    const late = [follower('a', true, false), follower('b', false, false)];
    expect(rotationView(of('announced', 25 * HOUR_MS), late).step).toBeUndefined();
    expect(rotationView(of('announced', 24 * HOUR_MS), late)).toEqual({ step: 'switch', waitsFor: ['b to believe the next CA'] });
    expect(rotationView(of('switched', 1), late).step).toBeUndefined();
    expect(rotationView(of('switched', 0), late).step).toBe('retire');
  });
});
