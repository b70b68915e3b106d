import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import type { Inventory } from '@tidemark/hypervisor';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { messageOf } from '../errors.js';
import { EventService } from '../event/event.service.js';
import { InventoryService } from '../inventory/inventory.service.js';
import { areDisksChanged } from './followed-disks.js';
import { VpgActions } from './vpg-actions.service.js';
import type { VpgRecord } from './vpg-model.js';
import { VmHostStore } from './vm-host.store.js';
import { VpgStore } from './vpg.store.js';

/** A change that was asked for shows in the VPG's record soon; asking again before would only meet a busy VPG. */
const ASK_AGAIN_MS = 5000;
export const SYSTEM_USER = 'System';

/**
 * What the hypervisor changes under protected VMs, followed without a person. A VM on another host: the VRAs' documents follow by themselves, here it is told.
 * Disks added, grown or removed: the recovery site is asked to change the VPG.
 */
@Injectable()
export class VmFollower implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger(VmFollower.name);
  readonly #loop = new Background('vm-follower', 2000, () => this.#follow());
  /** The VPG's record that was found wanting, and when. */
  readonly #asked = new Map<string, { readonly generation: number; readonly atMs: number }>();

  constructor(
    private readonly vpgs: VpgStore,
    private readonly hosts: VmHostStore,
    private readonly inventory: InventoryService,
    private readonly actions: VpgActions,
    private readonly events: EventService,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.inventory.onChange(() => this.#loop.poke());
    this.#loop.start();
  }

  async #follow(): Promise<void> {
    const inventory = this.inventory.current;
    if (!inventory || this.inventory.problem || !this.vpgs.isLoaded || !this.hosts.isLoaded) return;
    const own = this.vpgs.visible().filter(({ definition }) => definition.protectedSiteId === this.config.siteId);
    for (const vpg of own) {
      await this.#noteMoves(vpg, inventory);
      if (vpg.state === 'protecting') await this.#followDisks(vpg, inventory);
    }
  }

  async #noteMoves({ definition }: VpgRecord, inventory: Inventory): Promise<void> {
    for (const { vmId, name } of definition.vms) {
      const hostId = inventory.vms.find(({ id }) => id === vmId)?.hostId;
      const before = this.hosts.find(definition.vpgId, vmId);
      if (hostId === undefined || hostId === before) continue;
      await this.hosts.put(definition.vpgId, vmId, hostId);
      if (before === undefined) continue;
      const [from, to] = [before, hostId].map((id) => inventory.hosts.find((host) => host.id === id)?.name ?? id);
      this.#log.log(`VM '${name}' of VPG '${definition.name}' moved from host ${from} to ${to}`);
      await this.events.record({
        type: 'Unknown', category: 'Events', entity: 'VPG', userName: SYSTEM_USER, isSuccess: true, vpgIds: [definition.vpgId],
        description: `VM '${name}' moved from host ${from} to host ${to}; the VRA there takes over its replication`,
      });
    }
  }

  async #followDisks({ definition, generation }: VpgRecord, inventory: Inventory): Promise<void> {
    const changed = definition.vms.filter((vm) => areDisksChanged(vm, inventory.vms.find(({ id }) => id === vm.vmId)));
    if (changed.length === 0) return;
    const asked = this.#asked.get(definition.vpgId);
    if (asked?.generation === generation && this.clock.monotonicMs() - asked.atMs < ASK_AGAIN_MS) return;
    this.#asked.set(definition.vpgId, { generation, atMs: this.clock.monotonicMs() });
    this.#log.log(`disks of ${changed.map(({ name }) => `'${name}'`).join(', ')} of VPG '${definition.name}' changed`);
    try {
      await this.actions.act({ action: 'followDisks', vpgId: definition.vpgId, input: {} }, SYSTEM_USER);
    } catch (error) {
      // Busy, or the recovery site is away: the VM goes on as it is, its other disks too, and this is tried again.
      this.#log.warn(`VPG '${definition.name}' cannot follow the change of disks yet: ${messageOf(error)}`);
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}
