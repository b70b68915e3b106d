import type { VraAddressV1 } from '@tidemark/contracts';
import type { VmRecoverySettings } from '@tidemark/vpg';
import { settingsOf } from './vpg-definition.js';
import type { VpgDefinition, VpgVm } from './vpg-model.js';

export const moveNumberOf = ({ moveNumber }: Pick<VpgVm, 'moveNumber'>): number => moveNumber ?? 0;

const NOTHING_CHOSEN: VmRecoverySettings = {
  hostIdentifier: null, hostClusterIdentifier: null, datastoreIdentifier: null, datastoreClusterIdentifier: null, folderIdentifier: null, resourcePoolIdentifier: null,
  vcd: null, publicCloud: null,
};

/** VMs that another VRA recovers afterwards. */
export function movedVms(before: VpgDefinition, after: VpgDefinition): { readonly from: VpgVm; readonly to: VpgVm }[] {
  return after.vms.flatMap((to) => {
    const from = before.vms.find(({ vmId }) => vmId === to.vmId);
    return from && from.recoveringVra.vraId !== to.recoveringVra.vraId ? [{ from, to }] : [];
  });
}

/** The definition with these VMs recovered at other VRAs, by VM; journal and volumes stay where they are. */
export function withRecoveryAt(definition: VpgDefinition, targets: ReadonlyMap<string, { readonly hostId: string; readonly vra: VraAddressV1 }>): VpgDefinition {
  const settings = settingsOf(definition);
  return {
    ...definition,
    settings: {
      ...settings,
      vms: settings.vms.map((vm) => {
        const target = targets.get(vm.vmIdentifier ?? '');
        return target ? { ...vm, recovery: { ...(vm.recovery ?? NOTHING_CHOSEN), hostIdentifier: target.hostId } } : vm;
      }),
    },
    vms: definition.vms.map((vm) => {
      const target = targets.get(vm.vmId);
      if (!target || target.vra.vraId === vm.recoveringVra.vraId) return vm;
      return { ...vm, recoveryHostId: target.hostId, recoveringVra: target.vra, moveNumber: moveNumberOf(vm) + 1 };
    }),
  };
}

/** What the old VRAs are given back when a move fails: a number above the one that the new VRA may have written into the journals' folders. */
export function withMoveUndone(before: VpgDefinition, after: VpgDefinition): VpgDefinition {
  const undone = new Map(movedVms(before, after).map(({ to }) => [to.vmId, moveNumberOf(to) + 1]));
  return { ...before, vms: before.vms.map((vm) => ({ ...vm, moveNumber: undone.get(vm.vmId) ?? moveNumberOf(vm) })) };
}
