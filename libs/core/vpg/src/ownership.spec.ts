import { describe, expect, it } from '@jest/globals';
import { claimRefusal, fenceDue, isDenied, isFenced, isOver, VPG_STATES, type Fence, type VpgState } from './index.js';

const VMS = ['web', 'db'];
const fence = (epoch: number, { isLifted = false, vmIds = VMS } = {}): Fence => ({ epoch, isLifted, vmIds });
const facts = (state: VpgState, { epoch = 1, refusedVmIds = [] as string[] } = {}): Parameters<typeof fenceDue>[0] => ({ state, epoch, vmIds: VMS, refusedVmIds });

describe('the fence of a site whose VMs were failed over', () => {
  it('stands from the commit on, for all VMs, and in no state before or beside it', () => {
    const fencing = VPG_STATES.filter((state) => fenceDue(facts(state, { epoch: 2 }), undefined)?.epoch === 2);
    expect(fencing).toEqual(['promoting', 'reversing', 'needsConfiguration']);
    expect(fenceDue(facts('promoting', { epoch: 2 }), undefined)).toEqual({ epoch: 2, vmIds: VMS });
  });

  it('stands for a VM when its VRA says that a newer epoch is in force, though nobody else has said so, and for no other VM', () => {
    expect(fenceDue(facts('protecting', { refusedVmIds: ['web'] }), undefined)).toEqual({ epoch: 2, vmIds: ['web'] });
    expect(fenceDue(facts('protecting', { refusedVmIds: ['web'] }), fence(2, { vmIds: ['web'] }))).toBeUndefined();
    expect(fenceDue(facts('protecting', { refusedVmIds: ['db'] }), fence(2, { vmIds: ['web'] }))).toEqual({ epoch: 2, vmIds: VMS });
    expect(fenceDue(facts('protecting', { refusedVmIds: VMS }), fence(2))).toBeUndefined();
  });

  it('that stood for some is for all with the word of the recovery site, whether its epoch was known or is newer', () => {
    for (const epoch of [2, 3]) expect(fenceDue(facts('promoting', { epoch }), fence(2, { vmIds: ['web'] }))).toEqual({ epoch, vmIds: VMS });
    expect(fenceDue(facts('promoting', { epoch: 2 }), fence(2))).toBeUndefined();
  });

  it('that was lifted by force stands again for a newer owner only', () => {
    expect(fenceDue(facts('needsConfiguration', { epoch: 2 }), fence(2, { isLifted: true }))).toBeUndefined();
    expect(fenceDue(facts('needsConfiguration', { epoch: 2 }), fence(2, { isLifted: true, vmIds: ['web'] }))).toBeUndefined();
    expect(fenceDue(facts('protecting', { refusedVmIds: VMS }), fence(2, { isLifted: true, vmIds: ['web'] }))).toBeUndefined();
    expect(fenceDue(facts('needsConfiguration', { epoch: 4 }), fence(2, { isLifted: true }))).toEqual({ epoch: 4, vmIds: VMS });
    expect([isFenced(undefined), isFenced(fence(2)), isFenced(fence(2, { isLifted: true }))]).toEqual([false, true, false]);
  });

  it('is lifted by nobody who was not told the risk', () => {
    const claim = { vpgName: 'App', ownerSiteName: 'B', ownSiteName: 'A', isForced: false };
    expect(claimRefusal({ ...claim, fence: fence(2) })).toMatch(/site B owns .*epoch 2.*both sites run the same VMs.*lost for good.*Force/);
    expect(claimRefusal({ ...claim, fence: fence(2), isForced: true })).toBeUndefined();
    expect(claimRefusal({ ...claim, fence: undefined, isForced: true })).toMatch(/not fenced/);
    expect(claimRefusal({ ...claim, fence: fence(2, { isLifted: true }), isForced: true })).toMatch(/already/);
  });

  it('is denied by a manager that is heard and has committed nothing, and a claim from it is over with the number that it has given', () => {
    const owner = { state: 'protecting', epoch: 1, isNewest: true } as const;
    expect([isDenied(owner, fence(2)), isDenied({ ...owner, isNewest: false }, fence(2)), isDenied({ ...owner, state: 'promoting' }, fence(2)), isDenied({ ...owner, epoch: 2 }, fence(2))]).toEqual([true, false, false, false]);
    const claimed = fence(1, { isLifted: true });
    expect([isOver(owner, claimed), isOver(owner, fence(1)), isOver(owner, fence(2, { isLifted: true })), isOver({ state: 'needsConfiguration', epoch: 2 }, fence(2, { isLifted: true }))]).toEqual([true, false, false, false]);
    // What VRAs go on saying changes nothing; the very next failover does.
    expect(fenceDue(facts('protecting', { refusedVmIds: VMS }), claimed)).toBeUndefined();
    expect(fenceDue(facts('promoting', { epoch: 2 }), claimed)).toEqual({ epoch: 2, vmIds: VMS });
  });
});
