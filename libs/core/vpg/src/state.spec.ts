import { describe, expect, it } from '@jest/globals';
import { nextState, stateAfter, VPG_EVENTS, VPG_STATES, type VpgState } from './index.js';

/** Every legal transition, written down a second time: whatever is not here must be refused. */
const LEGAL = [
  'creating created protecting', 'creating creationFailed removed', 'creating deletionStarted deleting',
  'protecting failoverStarted failingOver', 'protecting deletionStarted deleting',
  'failingOver rolledBack protecting', 'failingOver committed promoting',
  'promoting promoted needsConfiguration', 'promoting promotedToReverse reversing',
  'reversing reversed protecting', 'reversing reverseRefused needsConfiguration', 'reversing deletionStarted deleting',
  'needsConfiguration deletionStarted deleting',
  'deleting deleted removed',
];

describe('VPG states', () => {
  it.each(VPG_STATES.flatMap((state) => VPG_EVENTS.map((event) => [state, event] as const)))('%s, %s', (state, event) => {
    const line = LEGAL.find((legal) => legal.startsWith(`${state} ${event} `));
    expect(stateAfter(state, event)).toBe(line?.split(' ')[2]);
    if (line === undefined) expect(() => nextState(state, event)).toThrow(`VPG event ${event} in state ${state}`);
    else expect(nextState(state, event)).toBe(line.split(' ')[2]);
  });

  it('every state is reached from creation and leads to removal', () => {
    const reach = (from: VpgState): Set<VpgState> => {
      const seen = new Set<VpgState>([from]);
      for (const state of seen) for (const event of VPG_EVENTS) {
        const next = stateAfter(state, event);
        if (next !== undefined) seen.add(next);
      }
      return seen;
    };
    expect([...reach('creating')].sort()).toEqual([...VPG_STATES].sort());
    for (const state of VPG_STATES) expect(reach(state).has('removed')).toBe(true);
  });
});
