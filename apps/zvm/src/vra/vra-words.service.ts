import { Injectable } from '@nestjs/common';
import type { ProtectionStatusV1, RecoveryStatusV1, UnreachableDiskV1, ViewStatusV1, VraStatusV1 } from '@tidemark/contracts';
import type { Inventory } from '@tidemark/hypervisor';
import { InventoryService } from '../inventory/inventory.service.js';
import { VmHostStore } from '../vpg/vm-host.store.js';
import { liveDisks } from '../vpg/followed-disks.js';
import type { VpgRecord, VpgVm } from '../vpg/vpg-model.js';
import { VraLinkService } from './vra-link.service.js';
import type { VraRecord } from './vra-model.js';
import { VraStore } from './vra.store.js';

interface About {
  readonly vpgId: string;
  readonly vmId: string;
}

interface Indexed {
  readonly protections: ReadonlyMap<string, ProtectionStatusV1>;
  readonly recoveries: ReadonlyMap<string, RecoveryStatusV1>;
}

const keyOf = ({ vpgId, vmId }: About): string => `${vpgId} ${vmId}`;
const byKey = <T extends About>(items: readonly T[]): Map<string, T> => new Map(items.map((item) => [keyOf(item), item]));

/**
 * What the VRAs of this site say of a VPG, each heard of what it was given to do and of nothing else: a VM's protection from the VRA of the host where it runs, its
 * recovery and views from the VRA that its VPG names. A VRA that speaks of other VMs is not heard (ADR 0054).
 */
@Injectable()
export class VraWords {
  /** Once for each heartbeat: a site has as many VPGs to ask about as a VRA has VMs. */
  readonly #indexes = new WeakMap<VraStatusV1, Indexed>();
  #hosts: { readonly inventory: Inventory; readonly byVm: ReadonlyMap<string, string> } | undefined;

  constructor(
    private readonly link: VraLinkService,
    private readonly vras: VraStore,
    private readonly inventory: InventoryService,
    private readonly vmHosts: VmHostStore,
  ) {}

  protections({ definition: { vpgId, vms } }: VpgRecord): ProtectionStatusV1[] {
    const vraOfHost = new Map(this.vras.all().map(({ hostId, vraId }) => [hostId, vraId]));
    return vms.flatMap(({ vmId }) => this.#of(vraOfHost.get(this.#hostOf(vpgId, vmId) ?? ''))?.protections.get(keyOf({ vpgId, vmId })) ?? []);
  }

  recoveries({ definition: { vpgId, vms } }: VpgRecord): RecoveryStatusV1[] {
    return vms.flatMap(({ vmId, recoveringVra }) => this.#of(recoveringVra.vraId)?.recoveries.get(keyOf({ vpgId, vmId })) ?? []);
  }

  views({ definition: { vpgId, vms } }: VpgRecord): ViewStatusV1[] {
    return vms.flatMap(({ vmId, recoveringVra }) => (this.link.status(recoveringVra.vraId)?.views ?? []).filter((view) => view.vpgId === vpgId && view.vmId === vmId));
  }

  /** Of the VMs' disks that the VPG has, by the VRA that serves them. */
  unreachableDisks({ definition: { vpgId, vms } }: VpgRecord): { readonly vra: VraRecord; readonly vm: VpgVm; readonly disk: UnreachableDiskV1 }[] {
    const vraOfHost = new Map(this.vras.all().map((vra) => [vra.hostId, vra]));
    return vms.flatMap((vm) => {
      const vra = vraOfHost.get(this.#hostOf(vpgId, vm.vmId) ?? '');
      const said = vra ? (this.link.status(vra.vraId)?.unreachableDisks ?? []) : [];
      const own = new Set(liveDisks(vm).map(({ diskId }) => diskId));
      return vra ? said.filter(({ vmId, diskId }) => vmId === vm.vmId && own.has(diskId)).map((disk) => ({ vra, vm, disk })) : [];
    });
  }

  /** Where it was seen last stands in while nothing could be read from the hypervisor manager. */
  #hostOf(vpgId: string, vmId: string): string | undefined {
    const inventory = this.inventory.current;
    if (inventory && this.#hosts?.inventory !== inventory) this.#hosts = { inventory, byVm: new Map(inventory.vms.map(({ id, hostId }) => [id, hostId])) };
    return this.#hosts?.byVm.get(vmId) ?? this.vmHosts.find(vpgId, vmId);
  }

  #of(vraId: string | undefined): Indexed | undefined {
    const status = vraId === undefined ? undefined : this.link.status(vraId);
    if (!status) return undefined;
    let indexed = this.#indexes.get(status);
    if (!indexed) this.#indexes.set(status, (indexed = { protections: byKey(status.protections), recoveries: byKey(status.recoveries) }));
    return indexed;
  }
}
