import { Inject, Injectable } from '@nestjs/common';
import type { CheckpointInsertedV1, SettledVmV1, VmPowerResultV1, VmPowerV1 } from '@tidemark/contracts';
import { ControlError } from '@tidemark/nest';
import { currentNote } from '../audit/audit-note.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, forbidden, notFound, ZvmError } from '../errors.js';
import { InventoryService } from '../inventory/inventory.service.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { VraStateService } from '../vra/vra-state.service.js';
import { CatalogueStore } from './catalogue.store.js';
import type { VpgRecord } from './vpg-model.js';
import { VpgConsents } from './vpg-consents.service.js';
import { VpgStore } from './vpg.store.js';

const INSERT_TRIES = 5;
const FREEZE_TRIES = 2;

/** What the protected site does for a VPG when the recovery site asks. */
@Injectable()
export class ProtectedSite {
  #begun: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly vpgs: VpgStore,
    private readonly catalogues: CatalogueStore,
    private readonly vras: VraLinkService,
    private readonly vraStates: VraStateService,
    private readonly inventory: InventoryService,
    private readonly consents: VpgConsents,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** Takes the record of `siteId`, the recovery site, over the older copy; streams start or stop with it. @throws ZvmError ZVM_FORBIDDEN, ZVM_CONFLICT, ZVM_NOT_FOUND */
  async put(record: VpgRecord, siteId: string): Promise<void> {
    const { vpgId, protectedSiteId, recoverySiteId, name } = record.definition;
    if (protectedSiteId !== this.config.siteId || recoverySiteId !== siteId) throw conflict(`VPG '${name}' does not protect VMs of this site, or is not recovered at the one that says so`);
    if (this.vpgs.find(vpgId)) return await this.#take(record, siteId);
    // One after the other: of two that begin at once each would find the VM free.
    const mine = this.#begun.then(async () => await this.#take(record, siteId));
    this.#begun = mine.catch(() => undefined);
    await mine;
  }

  async #take(record: VpgRecord, siteId: string): Promise<void> {
    const { vpgId, name } = record.definition;
    await this.vpgs.decide(vpgId, async (known) => {
      // Looked at here and nowhere before: nothing happens to the VPG between this and what is stored.
      if (known && !isSharedWith(known, siteId)) throw notFound('VPG', vpgId);
      const isDecidedHere = known?.definition.recoverySiteId === this.config.siteId;
      // Until it is handed over: the record that comes then is of the other direction, whatever its generation.
      if (isDecidedHere && known.failover?.phase !== 'handedOver') throw conflict(`VPG '${name}' is recovered at this site, which decides over it`);
      if (record.state === 'removed') {
        if (known) await currentNote()?.begin();
        return known && 'forget';
      }
      if (this.vpgs.isForgotten(vpgId)) throw conflict(`VPG '${name}' was deleted at this site`);
      if (known?.state === 'removed') throw conflict(`VPG '${name}' was deleted by force at this site`);
      if (known && !isDecidedHere && known.generation >= record.generation) return undefined;
      this.#assertNameFree(record);
      if (known) assertSameVms(record, known, { isTurned: isDecidedHere });
      else await this.consents.admit(record, siteId);
      await currentNote()?.begin();
      if (isDecidedHere) await this.catalogues.clear(vpgId, { isCopyNext: true });
      return record;
    });
    await this.consents.end(vpgId);
    if (this.vpgs.isForgotten(vpgId)) this.catalogues.forget(vpgId);
    this.vraStates.poke();
  }

  #assertNameFree({ definition }: VpgRecord): void {
    const other = this.vpgs.visible().find((vpg) => vpg.definition.vpgId !== definition.vpgId && vpg.definition.name.toLowerCase() === definition.name.toLowerCase());
    if (other) throw conflict(`site ${this.config.siteName} has a VPG named '${definition.name}' already`);
  }

  /** Puts a tagged checkpoint into the streams of a VPG. A void one (a VRA was too slow) is tried again. */
  async insertCheckpoint({ vpgId, tag, isApplicationConsistent }: { vpgId: string; tag: string; isApplicationConsistent: boolean }): Promise<CheckpointInsertedV1> {
    let leaderId = this.#leaderOf(vpgId);
    // Applications are not frozen again and again.
    const triesMax = isApplicationConsistent ? FREEZE_TRIES : INSERT_TRIES;
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.vras.insertCheckpoint(leaderId, { vpgId, epoch: this.vpgs.get(vpgId).epoch, tag, isApplicationConsistent });
      } catch (error) {
        const code = error instanceof ControlError ? error.remoteCode : null;
        if (code === 'CHECKPOINT_NOT_LEADER' && error instanceof ControlError && tried < INSERT_TRIES && this.#memberIds(vpgId).includes(error.message)) leaderId = error.message;
        else if (code === 'CHECKPOINT_VOID' && tried < triesMax) continue;
        else if (code === 'CHECKPOINT_FREEZE' && error instanceof Error) throw conflict(`there is no application-consistent checkpoint: ${error.message}`);
        else if (code === 'CHECKPOINT_VOID') throw conflict(`the checkpoint was void ${triesMax} times, the last time because: ${error instanceof Error ? error.message : ''}`);
        else throw error;
      }
    }
  }

  /** Every VM, or an error: a VPG that is compared in part would look right and not be. */
  async forceSync(vpgId: string): Promise<void> {
    const { definition, epoch } = this.vpgs.get(vpgId);
    for (const { vmId, name } of definition.vms) {
      const [vraId] = this.vraStates.vraIdsOf([vmId]);
      if (vraId === undefined) throw new ZvmError('ZVM_VRA_DOWN', `no VRA of site ${this.config.siteName} protects VM '${name}'`);
      await this.vras.forceSync(vraId, { vpgId: definition.vpgId, vmId, epoch });
    }
  }

  /** For the last checkpoint of a move. @throws ZvmError ZVM_CONFLICT for a VM that runs, or has written behind it */
  async settle(vpgId: string, checkpointId: number): Promise<SettledVmV1[]> {
    const { definition, epoch } = this.vpgs.get(vpgId);
    const { vms } = await this.inventory.refresh();
    return await Promise.all(definition.vms.map(async ({ vmId, name }) => {
      if (vms.find(({ id }) => id === vmId)?.powerState !== 'poweredOff') throw conflict(`VM '${name}' is not powered off any more`);
      const [vraId] = this.vraStates.vraIdsOf([vmId]);
      if (vraId === undefined) throw new ZvmError('ZVM_VRA_DOWN', `no VRA of site ${this.config.siteName} protects VM '${name}'`);
      try {
        return { vmId, fingerprints: [...(await this.vras.settle(vraId, { vpgId: definition.vpgId, vmId, epoch }, checkpointId)).fingerprints] };
      } catch (error) {
        if (error instanceof ControlError && error.remoteCode === 'VRA_NOT_SETTLED') throw conflict(`'${name}': ${error.message}`);
        throw error;
      }
    }));
  }

  /** VRAs of the hosts where its VMs run. */
  #memberIds(vpgId: string): string[] {
    return this.vraStates.vraIdsOf(this.vpgs.get(vpgId).definition.vms.map((vm) => vm.vmId));
  }

  #leaderOf(vpgId: string): string {
    const { definition } = this.vpgs.get(vpgId);
    const vraIds = this.#memberIds(vpgId);
    for (const vraId of vraIds) {
      const barrier = this.vras.status(vraId)?.barriers.find((candidate) => candidate.vpgId === vpgId);
      // Only members lead: who names another one is not followed.
      if (barrier?.leaderVraId && vraIds.includes(barrier.leaderVraId)) return barrier.leaderVraId;
    }
    const [first] = vraIds;
    if (first === undefined) throw new ZvmError('ZVM_VRA_DOWN', `no VRA of site ${this.config.siteName} protects VPG '${definition.name}'`);
    return first;
  }

  /** Powers protected VMs off before a failover, or on again after its rollback. Answers those whose state it changed. */
  async power({ vpgId, vmIds, action }: VmPowerV1): Promise<VmPowerResultV1> {
    const { definition } = this.vpgs.get(vpgId);
    const mine = new Set(definition.vms.map((vm) => vm.vmId));
    const stranger = vmIds.find((vmId) => !mine.has(vmId));
    if (stranger !== undefined) throw conflict(`VM ${stranger} is not in VPG '${definition.name}'`);
    const inventory = await this.inventory.refresh();
    const wanted = action === 'on' ? 'poweredOn' : 'poweredOff';
    const changing = inventory.vms.filter((vm) => vmIds.includes(vm.id) && vm.powerState !== wanted);
    for (const vm of changing) await this.#powerOne(vm.id, action);
    return { changedVmIds: changing.map((vm) => vm.id) };
  }

  async #powerOne(vmId: string, action: VmPowerV1['action']): Promise<void> {
    const { hypervisor } = this.inventory;
    if (action === 'on') return await hypervisor.powerOn(vmId);
    try {
      await hypervisor.powerOff(vmId, { isForced: false });
    } catch (error) {
      if (action !== 'forceOff') throw error;
      await hypervisor.powerOff(vmId, { isForced: true });
    }
  }
}

const isSharedWith = ({ definition }: VpgRecord, siteId: string): boolean => definition.recoverySiteId === siteId || definition.protectedSiteId === siteId;

/** No edit adds a VM: a record that names one more claims what nobody here has given. One that was handed over protects the recovered VMs, which are this site's. */
function assertSameVms({ definition: { name, vms }, state }: VpgRecord, known: VpgRecord, { isTurned }: { readonly isTurned: boolean }): void {
  const mine = new Set(isTurned ? known.failover?.vms.map((vm) => vm.recoveredVmId) : known.definition.vms.map((vm) => vm.vmId));
  const stranger = vms.find(({ vmId }) => !mine.has(vmId));
  if (stranger) throw forbidden(`VM ${stranger.vmId} is not in VPG '${name}' as this site knows it`);
  if (isTurned && state !== 'creating' && state !== 'protecting') throw conflict(`VPG '${name}' was handed over, and does not begin in state ${state}`);
}
