import type { Vm, VmDisk } from '@tidemark/hypervisor';
import type { VpgVm } from './vpg-model.js';

type VpgDisk = VpgVm['disks'][number];

/** Disks that the VM has now; removed ones keep their place behind them for the checkpoints that have them. */
export const liveDisks = (vm: VpgVm): readonly VpgDisk[] => vm.disks.filter(({ isRemoved }) => isRemoved !== true);

/** The VPG's own disk on the VM as it is; undefined: the VM has it no more, or has another one of its id. */
export const actualDisk = (vm: Pick<Vm, 'disks'> | undefined, disk: VpgDisk): VmDisk | undefined =>
  disk.isRemoved === true ? undefined : vm?.disks.find(({ id, exportName }) => id === disk.diskId && (disk.exportName ?? exportName) === exportName);

/** True if the VM has other disks, or larger ones, than its VPG knows. A VM that is not in the inventory has not lost its disks: it is not known. */
export function areDisksChanged(vm: VpgVm, actual: Vm | undefined): boolean {
  if (!actual?.disks.every(({ isFile }) => isFile)) return false;
  const known = liveDisks(vm);
  return known.length !== actual.disks.length || known.some((disk) => (actualDisk(actual, disk)?.sizeBytes ?? 0) !== disk.sizeBytes);
}

/**
 * The VPG's VM with the disks that it has now. The same question has the same answer, so a change that was cut short is made again as it was: each disk keeps its index
 * for ever, and a new one gets the next.
 */
export function withDisksOf(vm: VpgVm, actual: Vm, mirrorOf: (disk: VmDisk, index: number) => Pick<VpgDisk, 'recoveryDatastoreId' | 'mirrorPath'>): VpgVm {
  const known = vm.disks.map((disk): VpgDisk => {
    const found = actualDisk(actual, disk);
    if (disk.isRemoved === true) return disk;
    return found ? { ...disk, exportName: found.exportName, sizeBytes: Math.max(found.sizeBytes, disk.sizeBytes) } : { ...disk, isRemoved: true };
  });
  const kept = new Set(known.flatMap(({ isRemoved, diskId }) => (isRemoved === true ? [] : [diskId])));
  const added = actual.disks.filter(({ id }) => !kept.has(id));
  return {
    ...vm,
    disks: [...known, ...added.map((disk, position): VpgDisk => ({
      diskId: disk.id, exportName: disk.exportName, sizeBytes: disk.sizeBytes, ...mirrorOf(disk, known.length + position),
    }))],
  };
}
