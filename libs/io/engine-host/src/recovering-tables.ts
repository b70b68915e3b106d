import type { CheckpointPin } from './checkpoint-pins.js';
import type { HeldSurroundings } from './held-exchange.js';
import type { RecoveringSurroundings } from './recovering-types.js';
import type { RecoveryHost } from './recovery-host.js';
import type { RetirementSet, RetirementSetSurroundings } from './retirement-set.js';
import { protectionKey, type ViewSpec } from './types.js';

/** What a VRA recovers now, as those see it who agree with other VRAs about its checkpoints. */
export interface RecoveringTables {
  readonly recoveries: ReadonlyMap<string, RecoveryHost>;
  readonly viewSpecs: () => readonly ViewSpec[];
  readonly around: RecoveringSurroundings;
}

const viewsOf = ({ viewSpecs }: RecoveringTables, vpgId: string): readonly ViewSpec[] => viewSpecs().filter((spec) => spec.vpgId === vpgId);

const recoveriesOf = ({ recoveries }: RecoveringTables, vpgId: string): RecoveryHost[] => [...recoveries.values()].filter(({ spec }) => spec.vpgId === vpgId);

const pinsOf = (tables: RecoveringTables, vpgId: string): readonly CheckpointPin[] => recoveriesOf(tables, vpgId).flatMap(({ pins }) => pins.list);

export function retirementSurroundings(tables: RecoveringTables): RetirementSetSurroundings {
  const { around } = tables;
  return {
    selfVraId: around.options.vraId,
    log: around.options.log,
    send: (vraId, message) => around.sendRetirement(vraId, message),
    isPeerUp: (vraId) => around.isPeerUp(vraId),
    recoveryOf: (ref) => tables.recoveries.get(protectionKey(ref)),
    viewsOf: (vpgId) => viewsOf(tables, vpgId),
    pinsOf: (vpgId) => pinsOf(tables, vpgId),
  };
}

export function heldSurroundings(tables: RecoveringTables, retirements: RetirementSet): HeldSurroundings {
  const { around } = tables;
  return {
    selfVraId: around.options.vraId,
    ages: around.ages,
    retirements: retirements.byVpg,
    recoveriesOf: (vpgId) => recoveriesOf(tables, vpgId),
    pinnedIdsOf: (vpgId) => [...viewsOf(tables, vpgId), ...pinsOf(tables, vpgId)].map(({ checkpointId }) => checkpointId),
    thinningOf: (vpgId) => recoveriesOf(tables, vpgId)[0]?.spec.thinning,
    send: (vraId, message) => around.sendRetirement(vraId, message),
  };
}
