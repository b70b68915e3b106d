import { assert } from '@tidemark/base';

/** Where a VPG stands in its life; stored, so the words never change. A failover test is no state: protection goes on under it. */
export const VPG_STATES = ['creating', 'protecting', 'failingOver', 'promoting', 'reversing', 'needsConfiguration', 'deleting', 'removed'] as const;
export type VpgState = (typeof VPG_STATES)[number];

export const VPG_EVENTS = ['created', 'creationFailed', 'failoverStarted', 'rolledBack', 'committed', 'promoted', 'promotedToReverse', 'reversed', 'reverseRefused', 'deletionStarted', 'deleted'] as const;
export type VpgEvent = (typeof VPG_EVENTS)[number];

/** An absent cell is illegal. A failover is never deleted from under its VMs: it is committed or rolled back first. */
const NEXT: Readonly<Record<VpgState, Partial<Record<VpgEvent, VpgState>>>> = {
  creating: { created: 'protecting', creationFailed: 'removed', deletionStarted: 'deleting' },
  protecting: { failoverStarted: 'failingOver', deletionStarted: 'deleting' },
  failingOver: { rolledBack: 'protecting', committed: 'promoting' },
  promoting: { promoted: 'needsConfiguration', promotedToReverse: 'reversing' },
  reversing: { reversed: 'protecting', reverseRefused: 'needsConfiguration', deletionStarted: 'deleting' },
  needsConfiguration: { deletionStarted: 'deleting' },
  deleting: { deleted: 'removed' },
  removed: {},
};

/** The state after `event`, or undefined when it may not happen now. */
export const stateAfter = (state: VpgState, event: VpgEvent): VpgState | undefined => NEXT[state][event];

/** As {@link stateAfter} for events whose legality has been checked before: anything else is a bug of ours. */
export function nextState(state: VpgState, event: VpgEvent): VpgState {
  const next = stateAfter(state, event);
  assert(next !== undefined, `VPG event ${event} in state ${state}`);
  return next;
}
