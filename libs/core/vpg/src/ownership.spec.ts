import { describe, expect, it } from '@jest/globals';
import { claimRefusal, fenceDue, isFenced, VPG_STATES, type Fence, type VpgState } from './index.js';

const fence = (epoch: number, isLifted = false): Fence => ({ epoch, isLifted });
const facts = (state: VpgState, { epoch = 1, isStreamFenced = false } = {}): Parameters<typeof fenceDue>[0] => ({ state, epoch, isStreamFenced });

describe('the fence of a site whose VMs were failed over', () => {
  it('stands from the commit on, and in no state before or beside it', () => {
    const fencing = VPG_STATES.filter((state) => fenceDue(facts(state, { epoch: 2 }), undefined) === 2);
    expect(fencing).toEqual(['promoting', 'reversing', 'needsConfiguration']);
  });

  it('stands when a recovering VRA says that a newer epoch is in force, though nobody else has said so', () => {
    expect(fenceDue(facts('protecting', { isStreamFenced: true }), undefined)).toBe(2);
    expect(fenceDue(facts('protecting', { isStreamFenced: true }), fence(2))).toBeUndefined();
  });

  it('that was lifted by force stands again for a newer owner only', () => {
    expect(fenceDue(facts('needsConfiguration', { epoch: 2 }), fence(2, true))).toBeUndefined();
    expect(fenceDue(facts('protecting', { isStreamFenced: true }), fence(2, true))).toBeUndefined();
    expect(fenceDue(facts('needsConfiguration', { epoch: 4 }), fence(2, true))).toBe(4);
    expect([isFenced(undefined), isFenced(fence(2)), isFenced(fence(2, true))]).toEqual([false, true, false]);
  });

  it('is lifted by nobody who was not told the risk', () => {
    const claim = { vpgName: 'App', ownerSiteName: 'B', ownSiteName: 'A', isForced: false };
    expect(claimRefusal({ ...claim, fence: fence(2) })).toMatch(/site B owns .*epoch 2.*both sites run the same VMs.*lost for good.*Force/);
    expect(claimRefusal({ ...claim, fence: fence(2), isForced: true })).toBeUndefined();
    expect(claimRefusal({ ...claim, fence: undefined, isForced: true })).toMatch(/not fenced/);
    expect(claimRefusal({ ...claim, fence: fence(2, true), isForced: true })).toMatch(/already/);
  });
});
