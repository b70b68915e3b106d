import { describe, expect, it } from '@jest/globals';
import type { Vm, VmDisk } from '@tidemark/hypervisor';
import { actualDisk, areDisksChanged, liveDisks, withDisksOf } from './followed-disks.js';
import type { VpgVm } from './vpg-model.js';

const disk = (id: string, sizeBytes: number, exportName = `vm-${id}`): VmDisk => ({ id, sizeBytes, exportName, datastoreId: 'ds', location: `/ds/${exportName}`, isFile: true });
const vmWith = (...disks: VmDisk[]): Vm => ({ id: 'vm', disks } as unknown as Vm);
const vpgVm = (...disks: VpgVm['disks']): VpgVm => ({ vmId: 'vm', disks } as unknown as VpgVm);
const volume = (diskId: string, sizeBytes: number, change: Partial<VpgVm['disks'][number]> = {}): VpgVm['disks'][number] =>
  ({ diskId, sizeBytes, exportName: `vm-${diskId}`, recoveryDatastoreId: 'r', mirrorPath: `/r/${diskId}`, ...change });
const mirrorOf = (added: VmDisk, index: number): { recoveryDatastoreId: string; mirrorPath: string } => ({ recoveryDatastoreId: 'r', mirrorPath: `/r/${added.id}-${index}` });

describe('disks of a VM, followed', () => {
  const before = vpgVm(volume('d0', 10), volume('d1', 20));

  it('nothing changed', () => {
    const actual = vmWith(disk('d1', 20), disk('d0', 10));
    expect(areDisksChanged(before, actual)).toBe(false);
    expect(withDisksOf(before, actual, mirrorOf)).toEqual(before);
  });

  it('a VM that is not known, or whose disks are still views, has not lost any', () => {
    expect(areDisksChanged(before, undefined)).toBe(false);
    expect(areDisksChanged(before, vmWith({ ...disk('d0', 10), isFile: false }))).toBe(false);
  });

  it('added, grown, removed: indexes stay, the new one comes last', () => {
    const actual = vmWith(disk('d0', 15), disk('d2', 30));
    expect(areDisksChanged(before, actual)).toBe(true);
    const after = withDisksOf(before, actual, mirrorOf);
    expect(after.disks).toEqual([volume('d0', 15), volume('d1', 20, { isRemoved: true }), volume('d2', 30, { mirrorPath: '/r/d2-2' })]);
    expect(liveDisks(after).map(({ diskId }) => diskId)).toEqual(['d0', 'd2']);
    expect(areDisksChanged(after, actual)).toBe(false);
    expect(withDisksOf(after, actual, mirrorOf)).toEqual(after);
  });

  it('another disk under the id of a removed one is another volume', () => {
    const actual = vmWith(disk('d0', 10), disk('d1', 20, 'vm-d1-2'));
    expect(areDisksChanged(before, actual)).toBe(true);
    expect(actualDisk(actual, volume('d1', 20))).toBeUndefined();
    const after = withDisksOf(before, actual, mirrorOf);
    expect(after.disks.map(({ diskId, exportName, isRemoved }) => [diskId, exportName, isRemoved])).toEqual([['d0', 'vm-d0', undefined], ['d1', 'vm-d1', true], ['d1', 'vm-d1-2', undefined]]);
    expect(areDisksChanged(after, actual)).toBe(false);
  });
});
