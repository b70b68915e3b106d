import type { ProtectionV1 } from '@tidemark/contracts';
import type { VpgSettings } from '@tidemark/vpg';
import type { VpgDefinition } from './vpg-model.js';

const PRIORITIES = { Low: 'low', Medium: 'medium', High: 'high' } as const;
const RPO_SECONDS_DEFAULT = 300;

export const settingsOf = (definition: VpgDefinition): VpgSettings => definition.settings as VpgSettings;

export const priorityOf = (definition: VpgDefinition): ProtectionV1['priority'] => PRIORITIES[settingsOf(definition).basic.priority ?? 'Medium'];

export const isCompressedOf = (definition: VpgDefinition): boolean => settingsOf(definition).basic.useWanCompression ?? true;

/** 0: no reminder. */
export const testIntervalMsOf = (definition: VpgDefinition): number => 60_000 * (settingsOf(definition).basic.testIntervalInMinutes ?? 0);

export const rpoSecondsOf = (definition: VpgDefinition): number => settingsOf(definition).basic.rpoInSeconds ?? RPO_SECONDS_DEFAULT;
