import { describe, expect, it } from '@jest/globals';
import { vpgDefinition, vpgVm } from '../testing/factories.js';
import { assertSameShape } from './edit-rules.js';

describe('what an edit may change', () => {
  const before = vpgDefinition();

  it('is the name, the history and networks', () => {
    expect(() => assertSameShape(before, { ...before, name: 'Other', historyMs: 1000 })).not.toThrow();
  });

  it('is the host that recovers a VM', () => {
    expect(() => assertSameShape(before, { ...before, vms: [vpgVm('vm1', { recoveryHostId: 'hb2' }), vpgVm('vm2')] })).not.toThrow();
  });

  it('is not the VMs, nor the datastores of their recovery', () => {
    expect(() => assertSameShape(before, { ...before, vms: [vpgVm('vm1')] })).toThrow('the VMs');
    const moved = vpgVm('vm2', { disks: [{ diskId: 'scsi:0:0', sizeBytes: 1 << 20, recoveryDatastoreId: 'other', mirrorPath: '/o' }] });
    expect(() => assertSameShape(before, { ...before, vms: [vpgVm('vm1'), moved] })).toThrow("the volumes of 'vm2'");
    const temp = vpgVm('vm2', { disks: [{ diskId: 'scsi:0:0', sizeBytes: 1 << 20, recoveryDatastoreId: 'dsb', mirrorPath: '/o', isTempData: true }] });
    expect(() => assertSameShape(before, { ...before, vms: [vpgVm('vm1'), temp] })).toThrow("which volumes of 'vm2' hold temp data");
  });
});
