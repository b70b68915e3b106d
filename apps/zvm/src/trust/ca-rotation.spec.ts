import { describe, expect, it } from '@jest/globals';
import { type CaFollower, rotationView } from './ca-rotation.js';

const follower = (name: string, trustsNewest: boolean, usesNewest: boolean): CaFollower => ({ name, trustsNewest, usesNewest });

describe('what a rotation of the CA does next', () => {
  it('nothing while there is one CA', () => {
    expect(rotationView('steady', [follower('a', false, false)])).toEqual({ step: undefined, waitsFor: [] });
  });

  it('signs with the next one when all believe it, and not before', () => {
    expect(rotationView('announced', [follower('a', true, false), follower('b', false, false)])).toEqual({ step: undefined, waitsFor: ['b to believe the next CA'] });
    expect(rotationView('announced', [follower('a', true, false), follower('b', true, false)]).step).toBe('switch');
    expect(rotationView('announced', []).step).toBe('switch');
  });

  it('trusts the old one until nobody shows a certificate of it', () => {
    expect(rotationView('switched', [follower('a', true, true), follower('b', true, false)])).toEqual({ step: undefined, waitsFor: ['b to show a certificate of the new CA'] });
    expect(rotationView('switched', [follower('a', true, true)]).step).toBe('retire');
  });
});
