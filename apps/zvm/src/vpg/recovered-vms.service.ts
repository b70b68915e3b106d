import { Injectable } from '@nestjs/common';
import type { CheckpointDisksV1 } from '@tidemark/contracts';
import { HypervisorError, type Vm, type VmSpec } from '@tidemark/hypervisor';
import { ZvmError } from '../errors.js';
import { InventoryService } from '../inventory/inventory.service.js';
import { pause } from '../operation/operation.service.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { bootWaves } from './boot-order.js';
import { newestEpoch, type RecoveredVm, type VpgDefinition, type VpgRecord, type VpgVm } from './vpg-model.js';
import { VpgStore } from './vpg.store.js';

/** Requests to the hypervisor manager that are under way together: one by one, the VMs of a large VPG would wait for each other. */
const AT_ONCE_MAX = 8;

/** Which of a VPG's two sets of recovered VMs. */
export type RecoverySlot = 'failover' | 'failoverTest';

interface Pair {
  readonly wanted: RecoveredVm;
  readonly vm: VpgVm;
}

/**
 * The recovered VMs of a failover or a test: created powered off, their disks served from checkpoint views, then powered on in boot order.
 * Every method may be repeated; none calls the other site.
 */
@Injectable()
export class RecoveredVms {
  constructor(
    private readonly vpgs: VpgStore,
    private readonly inventory: InventoryService,
    private readonly vras: VraLinkService,
  ) {}

  #pairs(record: VpgRecord, slot: RecoverySlot): Pair[] {
    const vms = record[slot]?.vms ?? [];
    return vms.flatMap((wanted) => {
      const vm = record.definition.vms.find((candidate) => candidate.vmId === wanted.vmId);
      return vm ? [{ wanted, vm }] : [];
    });
  }

  async create(vpgId: string, slot: RecoverySlot): Promise<void> {
    const record = this.vpgs.get(vpgId);
    const checkpointId = record[slot]?.checkpointId ?? 0;
    const missing = this.#pairs(record, slot).filter(({ wanted }) => wanted.recoveredVmId === null);
    for (let at = 0; at < missing.length; at += AT_ONCE_MAX) {
      const outcomes = await Promise.allSettled(missing.slice(at, at + AT_ONCE_MAX).map(async (pair) => {
        const { disks } = await this.vras.checkpointDisks(pair.vm.recoveringVra.vraId, { vpgId, vmId: pair.vm.vmId }, checkpointId);
        return { pair, created: await this.inventory.hypervisor.createVm(specOf(pair, slot, disks)) };
      }));
      // What was created is written down before a failure is reported: the undo deletes what it finds there.
      const made = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
      await this.#note(vpgId, slot, new Map(made.map(({ pair, created }) => [pair.wanted.viewId, created.id])));
      throwFirst(outcomes);
    }
    await this.inventory.refresh();
  }

  async #note(vpgId: string, slot: RecoverySlot, idByView: ReadonlyMap<string, string>): Promise<void> {
    await this.vpgs.update(vpgId, (record) => {
      const current = record[slot];
      if (!current) return record;
      return { ...record, [slot]: { ...current, vms: current.vms.map((vm) => ({ ...vm, recoveredVmId: idByView.get(vm.viewId) ?? vm.recoveredVmId })) } };
    });
  }

  async openViews(vpgId: string, slot: RecoverySlot): Promise<void> {
    const record = this.vpgs.get(vpgId);
    const checkpointId = record[slot]?.checkpointId ?? 0;
    const { vms } = await this.inventory.refresh();
    await Promise.all(this.#pairs(record, slot).map(async ({ wanted, vm }) => {
      const created = vms.find(({ id }) => id === wanted.recoveredVmId);
      if (!created) throw new ZvmError('ZVM_CONFLICT', `recovered VM '${wanted.name}' has vanished from the hypervisor manager`);
      await this.vras.openView(vm.recoveringVra.vraId, {
        vpgId, vmId: vm.vmId, viewId: wanted.viewId, checkpointId, purpose: slot === 'failover' ? 'live' : 'test',
        volumes: created.disks.map((disk) => ({ diskId: disk.id, exportName: disk.exportName })), epoch: newestEpoch(record),
      });
    }));
  }

  async powerOn(vpgId: string, slot: RecoverySlot, progress: { readonly signal: AbortSignal; readonly share: (part: number) => Promise<void> }): Promise<void> {
    const record = this.vpgs.get(vpgId);
    const byVmId = new Map(this.#pairs(record, slot).map(({ wanted }) => [wanted.vmId, wanted]));
    const waves = wavesOf(record.definition, byVmId);
    for (const [index, wave] of waves.entries()) {
      await this.#switchAll(wave.vms, 'poweredOn');
      await progress.share((index + 1) / waves.length);
      if (index + 1 < waves.length) await pause(wave.delayAfterMs, progress.signal);
    }
    await this.inventory.refresh();
  }

  async powerOff(vpgId: string, slot: RecoverySlot): Promise<void> {
    await this.#switchAll(this.#pairs(this.vpgs.get(vpgId), slot).map(({ wanted }) => wanted), 'poweredOff');
  }

  /** One look at the inventory for all of them. */
  async #switchAll(wanted: readonly RecoveredVm[], state: Vm['powerState']): Promise<void> {
    const ids = new Set(wanted.flatMap(({ recoveredVmId }) => recoveredVmId ?? []));
    const vms = (await this.inventory.refresh()).vms.filter((vm) => ids.has(vm.id) && vm.powerState !== state);
    for (let at = 0; at < vms.length; at += AT_ONCE_MAX) throwFirst(await Promise.allSettled(vms.slice(at, at + AT_ONCE_MAX).map((vm) => this.#switch(vm, state))));
  }

  async #switch(vm: Vm, state: Vm['powerState']): Promise<void> {
    // Its disks are thrown away with it: nothing would be gained by a clean shutdown.
    if (state === 'poweredOn') await this.inventory.hypervisor.powerOn(vm.id);
    else await this.inventory.hypervisor.powerOff(vm.id, { isForced: true });
  }

  /** Powered-off VMs leave the inventory; the files that their disks name are the mirror volumes and stay. */
  async delete(vpgId: string, slot: RecoverySlot): Promise<void> {
    for (const { wanted } of this.#pairs(this.vpgs.get(vpgId), slot)) {
      if (wanted.recoveredVmId === null) continue;
      try {
        await this.inventory.hypervisor.deleteVm(wanted.recoveredVmId, { areDisksKept: true });
      } catch (error) {
        if (!(error instanceof HypervisorError && error.code === 'HYPERVISOR_NOT_FOUND')) throw error;
      }
    }
    await this.inventory.refresh();
  }

  async closeViews(vpgId: string, slot: RecoverySlot): Promise<void> {
    const record = this.vpgs.get(vpgId);
    await Promise.all(this.#pairs(record, slot).map(({ wanted, vm }) => this.vras.closeView(vm.recoveringVra.vraId, { viewId: wanted.viewId, epoch: newestEpoch(record) })));
  }

  async promoteViews(vpgId: string): Promise<void> {
    const record = this.vpgs.get(vpgId);
    await Promise.all(this.#pairs(record, 'failover').map(({ wanted, vm }) => this.vras.promoteView(vm.recoveringVra.vraId, { viewId: wanted.viewId, epoch: newestEpoch(record) })));
  }

  /** 0 to 1, 1: every view is promoted. Starts again those that failed or do not know of it. */
  async promotionShare(vpgId: string): Promise<number> {
    const record = this.vpgs.get(vpgId);
    const shares = await Promise.all(this.#pairs(record, 'failover').map(async ({ wanted, vm }) => {
      // The VRA that has the recovery, and no other one, says that its view is promoted.
      const view = this.vras.status(vm.recoveringVra.vraId)?.views.find(({ viewId }) => viewId === wanted.viewId);
      if (!view) return 0;
      if (view.state === 'promoted') return 1;
      if (view.state !== 'promoting') await this.vras.promoteView(vm.recoveringVra.vraId, { viewId: wanted.viewId, epoch: newestEpoch(record) });
      return view.totalBytes === 0 ? 0 : Math.min(0.99, view.promotedBytes / view.totalBytes);
    }));
    return shares.reduce((sum, share) => sum + share, 0) / Math.max(1, shares.length);
  }

  async markDisksAsFiles(vpgId: string): Promise<void> {
    for (const { wanted } of this.#pairs(this.vpgs.get(vpgId), 'failover')) {
      if (wanted.recoveredVmId !== null) await this.inventory.hypervisor.markDisksAsFiles(wanted.recoveredVmId);
    }
    await this.inventory.refresh();
  }

  /** True when each running recovered VM is served from its own files by the VRA of its host. */
  areTakenOver(vpgId: string): boolean {
    const inventory = this.inventory.current;
    if (!inventory) return false;
    return this.#pairs(this.vpgs.get(vpgId), 'failover').every(({ wanted, vm }) => {
      const recovered = inventory.vms.find(({ id }) => id === wanted.recoveredVmId);
      if (!recovered || recovered.powerState === 'poweredOff') return true;
      return this.vras.status(vm.recoveringVra.vraId)?.attachedVmIds.includes(recovered.id) ?? false;
    });
  }
}

/** When all have ended: nothing goes on behind the back of an undo. */
function throwFirst(outcomes: readonly PromiseSettledResult<unknown>[]): void {
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) throw failed.reason as Error;
}

function wavesOf(definition: VpgDefinition, byVmId: ReadonlyMap<string, RecoveredVm>): { readonly vms: RecoveredVm[]; readonly delayAfterMs: number }[] {
  return bootWaves(definition)
    .map(({ vmIds, delayAfterMs }) => ({ vms: vmIds.flatMap((vmId) => byVmId.get(vmId) ?? []), delayAfterMs }))
    .filter(({ vms }) => vms.length > 0);
}

/** With the disks that the VM had at the checkpoint, in the sizes of then. */
function specOf({ wanted, vm }: Pair, slot: RecoverySlot, disks: CheckpointDisksV1['disks']): VmSpec {
  const isLive = slot === 'failover';
  return {
    requestKey: wanted.viewId,
    name: wanted.name,
    hostId: vm.recoveryHostId,
    ...(vm.recoveryFolderId === null ? {} : { folderId: vm.recoveryFolderId }),
    cpuCount: vm.cpuCount,
    memoryMiB: vm.memoryMiB,
    guestOs: vm.guestOs,
    disks: disks.map(({ volume, diskId, sizeBytes }) => {
      const disk = vm.disks[volume];
      if (!disk) throw new ZvmError('ZVM_CONFLICT', `VM '${vm.name}' has a disk ${diskId} at this checkpoint that its VPG does not know`);
      // The mirror is what a failover promotes into; a test ends in no file.
      return { id: disk.diskId, sizeBytes, datastoreId: disk.recoveryDatastoreId, isFile: false, ...(isLive ? { location: disk.mirrorPath } : {}) };
    }),
    nics: vm.nics.flatMap((nic) => {
      const networkId = isLive ? nic.failoverNetworkId : nic.testNetworkId;
      const isMacNew = isLive ? nic.isFailoverMacNew : nic.isTestMacNew;
      if (networkId === null) return [];
      return [{ networkId, ...(isMacNew ? {} : { mac: nic.mac }) }];
    }),
  };
}
