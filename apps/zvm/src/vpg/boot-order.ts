import { DEFAULT_BOOT_GROUP_ID } from '@tidemark/vpg';
import { settingsOf } from './vpg-definition.js';
import type { VpgDefinition } from './vpg-model.js';

export interface BootWave {
  readonly vmIds: readonly string[];
  /** Between the end of this wave and the start of the next. */
  readonly delayAfterMs: number;
}

/** VMs in the order in which they are powered on: the default group first, then the groups as they are listed. Empty groups delay nobody. */
export function bootWaves(definition: VpgDefinition): BootWave[] {
  const groups = settingsOf(definition).bootGroups.bootGroups;
  const isDefault = (id: string | null): boolean => id === DEFAULT_BOOT_GROUP_ID;
  const ordered = [...groups.filter((group) => isDefault(group.bootGroupIdentifier)), ...groups.filter((group) => !isDefault(group.bootGroupIdentifier))];
  const waves = ordered.map((group) => ({
    vmIds: definition.vms.filter((vm) => vm.bootGroupId === group.bootGroupIdentifier).map((vm) => vm.vmId),
    delayAfterMs: (group.bootDelayInSeconds ?? 0) * 1000,
  })).filter((wave) => wave.vmIds.length > 0);
  const placed = new Set(waves.flatMap((wave) => wave.vmIds));
  const rest = definition.vms.filter((vm) => !placed.has(vm.vmId)).map((vm) => vm.vmId);
  return rest.length > 0 ? [{ vmIds: rest, delayAfterMs: 0 }, ...waves] : waves;
}
