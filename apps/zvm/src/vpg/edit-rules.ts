import { invalid } from '../errors.js';
import { liveDisks } from './followed-disks.js';
import type { VpgDefinition, VpgVm } from './vpg-model.js';

/** What an edit may not change in this version: VMs, and the datastores where their recovery lies; the host that recovers them may be another one. @throws ZvmError ZVM_INVALID that names it */
export function assertSameShape(before: VpgDefinition, after: VpgDefinition): void {
  const faults: string[] = [];
  if (before.protectedSiteId !== after.protectedSiteId || before.recoverySiteId !== after.recoverySiteId) faults.push('the sites');
  const ids = ({ vms }: VpgDefinition): string => vms.map((vm) => vm.vmId).join(' ');
  if (ids(before) !== ids(after)) faults.push('the VMs or their order');
  else {
    after.vms.forEach((vm, index) => {
      const old = before.vms[index];
      if (!old) return;
      if (old.journalDatastore.id !== vm.journalDatastore.id) faults.push(`the journal datastore of '${vm.name}'`);
      if (isTempDataChanged(old, vm)) faults.push(`which volumes of '${vm.name}' hold temp data (VolumeSyncSettings)`);
      if (isDatastoreChanged(old, vm)) faults.push(`the recovery datastores of the volumes of '${vm.name}'`);
    });
  }
  if (faults.length > 0) throw invalid(`this version cannot change ${faults.join(', ')} of an existing VPG: delete it and create it anew`);
}

/** What the recovery site holds of temp data is old: a volume cannot become an ordinary one without a new copy. */
const isTempDataChanged = (old: VpgVm, vm: VpgVm): boolean =>
  vm.disks.some(({ diskId, isTempData }) => (liveDisks(old).find((disk) => disk.diskId === diskId)?.isTempData === true) !== (isTempData === true));

/** Which disks there are, and how large, is the hypervisor's to say, and is followed apart from edits. */
const isDatastoreChanged = (old: VpgVm, vm: VpgVm): boolean =>
  vm.disks.some((disk) => (liveDisks(old).find(({ diskId }) => diskId === disk.diskId) ?? disk).recoveryDatastoreId !== disk.recoveryDatastoreId);
