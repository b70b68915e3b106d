import type { Plant } from './plants.js';
import type { SwarmOptions } from './swarm.js';

const RETIREMENT = 'libs/core/checkpoint/src/retirement.ts';

/** Edits meet retirements that are being agreed over a slow network. */
const SHORT_EDITS: Partial<SwarmOptions> = { editMs: 60, documentMsMax: 2, recoveringCount: 3, delayMsMax: 40, spikeMsMax: 80, intervalMs: 60, faultPhaseMs: 7000 };

/** Settings of VPGs that change while they replicate: vpg-edits.ts. */
export const EDIT_PLANTS: readonly Plant[] = [
  {
    name: 'longer-history-not-taken', isEdited: true, breaks: 'when an edit has ended, no checkpoint goes that is younger than the longer history', seedBudget: 60, expects: ['retirement'],
    mutation: { file: RETIREMENT, find: '    this.#config = config;\n', replace: '    this.#config = { ...config, historyMs: Math.min(config.historyMs, this.#config?.historyMs ?? config.historyMs) };\n' },
  },
  {
    name: 'shorter-history-not-taken', isEdited: true, breaks: 'when an edit has ended, no checkpoint stays for ever that a shorter history does not need', seedBudget: 60, expects: ['settings'],
    mutation: { file: RETIREMENT, find: '    this.#config = config;\n', replace: '    this.#config = { ...config, historyMs: Math.max(config.historyMs, this.#config?.historyMs ?? config.historyMs) };\n' },
  },
  {
    name: 'attempt-outlives-an-edit', isEdited: true, breaks: 'a retirement that is being asked for by an older history ends with it', seedBudget: 100, expects: ['retirement'], under: ['cutOne', 3000], shape: SHORT_EDITS,
    mutation: { file: RETIREMENT, find: "    if (this.#attempt !== undefined) this.#withdraw('a new configuration came');\n", replace: '' },
  },
  { name: 'edit-not-durable', isEdited: true, breaks: 'a setting is durable at a recovering VRA before it is answered', seedBudget: 100, expects: ['retirement', 'settings'], flag: 'editVolatile', under: ['killRecovering', 400] },
  { name: 'edit-undone-by-half', isEdited: true, breaks: 'an edit that failed leaves no VRA with its settings', seedBudget: 60, expects: ['retirement', 'settings'], flag: 'editHalfUndone' },
  {
    name: 'interval-of-before', isEdited: true, breaks: 'checkpoints come at the interval that was edited last', seedBudget: 40, expects: ['settings'],
    mutation: { file: 'libs/core/checkpoint/src/barrier.ts', find: '    this.#config = config;\n', replace: '    this.#config = { ...config, intervalMs: this.#config?.intervalMs ?? config.intervalMs };\n' },
  },
];
