import type { RetirementMessage } from '@tidemark/checkpoint';
import type { CodecPool } from '@tidemark/link';
import type { AgeClock } from './age-clock.js';
import type { EngineMemory } from './engine-memory.js';
import type { HashPool } from './hash-pool.js';
import type { HeldMessage } from './held-report.js';
import type { Removal } from './removal.js';
import type { RecoverySpec, ViewSpec, VraOptions } from './types.js';
import type { ViewTables } from './view-host.js';

export interface ViewEntry {
  readonly spec: ViewSpec;
  isPromoting: boolean;
}

/** What the state file says. */
export interface RecoveringState {
  readonly recoveries: readonly RecoverySpec[];
  readonly views: readonly ViewEntry[];
  readonly removals?: readonly Removal[];
}

export interface RecoveringSurroundings extends ViewTables {
  readonly ages: AgeClock;
  readonly codecs: CodecPool;
  readonly options: VraOptions;
  readonly hashPool: HashPool;
  readonly memory: EngineMemory;
  sendRetirement(vraId: string, message: RetirementMessage | HeldMessage): void;
  isPeerUp(vraId: string): boolean;
}
