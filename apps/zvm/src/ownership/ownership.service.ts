import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { claimRefusal, fenceDue, isDenied, isFenced, isOver } from '@tidemark/vpg';
import { AuditLog } from '../audit/audit-log.js';
import { currentNote } from '../audit/audit-note.js';
import { plainText } from '../audit/redaction.js';
import { Background, eachAlone } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict } from '../errors.js';
import { EventService } from '../event/event.service.js';
import { InventoryService } from '../inventory/inventory.service.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { VraWords } from '../vra/vra-words.service.js';
import { FenceStore, type VpgFence } from './fence.store.js';
import { OwnerWords } from './owner-words.js';

export interface ShownFence extends VpgFence {
  /** Only VRAs of the other site say that it owns the VMs; its manager knows of no failover. */
  readonly isDenied: boolean;
}

/**
 * VMs of this site that another one has failed over: found, fenced and, by a person who insists, claimed back. It looks each second, so a site that returns
 * after a failover fences its VMs with the first word of the other one, from ZVM to ZVM or from VRA to VRA, whichever comes first.
 */
@Injectable()
export class OwnershipService implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #loop = new Background('ownership', 1000, () => this.#look());
  readonly #listeners: (() => void)[] = [];
  /** Of claims in this life: what the other manager said before them it may not say any more. */
  readonly #claimedMs = new Map<string, number>();

  constructor(
    private readonly fences: FenceStore,
    private readonly vpgs: VpgStore,
    private readonly words: VraWords,
    private readonly owners: OwnerWords,
    private readonly inventory: InventoryService,
    private readonly events: EventService,
    private readonly clock: Clock,
    private readonly audit: AuditLog,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.#loop.start();
  }

  /** A fence was put up or lifted. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  get isLoaded(): boolean {
    return this.fences.isLoaded;
  }

  /** Whose VMs are still there: of those that a move or a reverse protection has taken away nobody has to be warned. */
  withVms(): ShownFence[] {
    const vmIds = new Set(this.inventory.current?.vms.map(({ id }) => id));
    const isShown = (fence: VpgFence): boolean => {
      const vpg = this.#ownVpg(fence);
      return fence.vmIds.some((vmId) => vmIds.has(vmId)) && !(vpg && isOver(vpg, fence));
    };
    return this.fences.all().filter(isShown).map((fence) => ({ ...fence, isDenied: this.#isDenied(fence) }));
  }

  #ownVpg({ vpgId }: VpgFence): VpgRecord | undefined {
    const vpg = this.vpgs.find(vpgId);
    return vpg?.definition.protectedSiteId === this.config.siteId ? vpg : undefined;
  }

  /** `sinceMs`: monotonic; what was said before does not count. */
  #isDenied(fence: VpgFence, sinceMs = -Infinity): boolean {
    const vpg = this.#ownVpg(fence);
    if (!vpg) return false;
    const ageMs = this.owners.agreedAgeMs(vpg);
    return isDenied({ ...vpg, isNewest: ageMs !== undefined && this.clock.monotonicMs() - ageMs > sinceMs }, fence);
  }

  fencedVmIds(): ReadonlySet<string> {
    return new Set(this.fences.all().filter(isFenced).flatMap(({ vmIds }) => vmIds));
  }

  /** What the VPG's status says about it; empty when there is nothing to say. */
  textOf(vpgId: string): string {
    const fence = this.withVms().find((each) => each.vpgId === vpgId);
    if (!fence) return '';
    const since = `site ${fence.ownerSiteName} owns its VMs since a failover (epoch ${fence.epoch})`;
    if (!fence.isLifted && fence.isDenied) return `VRAs of site ${fence.ownerSiteName} say that it owns its VMs, its manager knows of no failover: those at this site are fenced, their writes are refused`;
    if (!fence.isLifted) return `${since}: those at this site are fenced, their writes are refused`;
    return `${since}, and '${fence.liftedBy ?? ''}' has claimed them for this site by force: both sites may run them`;
  }

  async #look(): Promise<void> {
    if (!this.vpgs.isLoaded || !this.fences.isLoaded) return;
    const own = this.vpgs.all().filter(({ definition }) => definition.protectedSiteId === this.config.siteId);
    // No VPG, whatever is wrong with it, keeps the VMs of another one without their fence.
    await eachAlone([...own.map((vpg) => () => this.#lookAt(vpg)), ...this.fences.all().map((fence) => () => this.#forgetGone(fence))], (look) => look());
  }

  async #lookAt(vpg: VpgRecord): Promise<void> {
    const { definition: { vpgId, vms }, state, epoch } = vpg;
    // Of another epoch than the one that this site protects with it is no word about it, be it older or newer: no VRA makes epochs.
    const refusedVmIds = this.words.protections(vpg).filter((stream) => stream.isFenced && stream.epoch === epoch).map(({ vmId }) => vmId);
    const known = this.fences.find(vpgId);
    const due = fenceDue({ state, epoch, vmIds: vms.map(({ vmId }) => vmId), refusedVmIds }, known);
    if (due) await this.#fence(vpg, due, known);
    else if (known?.isLifted === true && this.#isDenied(known, this.#claimedMs.get(vpgId))) await this.#settle(vpg, known);
  }

  /**
   * The VMs were claimed from nobody. The number of the fence was a guess, the next one that the other site can give: a failover that takes it later would pass for the one that was claimed
   * from, and both sites would run the VMs.
   */
  async #settle({ epoch }: VpgRecord, fence: VpgFence): Promise<void> {
    const { vpgId, ownerSiteId, ownerSiteName } = fence;
    const message = plainText(`site ${ownerSiteName} knows of no failover behind epoch ${epoch}: the claim of ${fence.liftedBy ?? ''} is over, and its next failover fences the VMs`);
    await this.fences.put({ ...fence, epoch }, async (db) => await this.audit.stageOwn(db, { action: 'ownership.claimOver', entities: [`vpg:${vpgId}`, `site:${ownerSiteId}`], input: { epoch }, message }));
    this.#changed();
    await this.audit.flush();
  }

  async #fence({ definition }: VpgRecord, { epoch, vmIds }: Pick<VpgFence, 'epoch' | 'vmIds'>, known: VpgFence | undefined): Promise<void> {
    const { vpgId, name, recoverySiteId, recoverySiteName, vms } = definition;
    const names = vms.filter(({ vmId }) => vmIds.includes(vmId)).map((vm) => `'${vm.name}'`);
    const which = names.length === vms.length ? 'the VMs' : `${names.join(', ')}, by the word of the VRAs that protect them: of ${vms.length} VMs, the ${names.length}`;
    const text = `${which} of VPG '${name}' are fenced at this site: site ${recoverySiteName} owns them since a failover (epoch ${epoch})`;
    const entities = [`vpg:${vpgId}`, `site:${recoverySiteId}`, ...vmIds.map((vmId) => `vm:${vmId}`)];
    await this.fences.put({
      vpgId, vpgName: name, ownerSiteId: recoverySiteId, ownerSiteName: recoverySiteName, vmIds, epoch,
      isLifted: false, fencedAtMs: known?.isLifted === false ? known.fencedAtMs : this.clock.nowMs(), liftedAtMs: null, liftedBy: null,
    }, async (db) => await this.audit.stageOwn(db, { action: 'ownership.fenced', entities, input: { epoch }, message: plainText(text) }));
    this.#changed();
    await this.audit.flush();
    await this.#record('VmsFenced', vpgId, 'System', text);
  }

  /** Reverse protection takes the old VMs away: with the last one goes its fence. Never while the VPG still calls them its own. */
  async #forgetGone({ vpgId, vmIds, ownerSiteId, epoch }: VpgFence): Promise<void> {
    const inventory = this.inventory.current;
    const vpg = this.vpgs.find(vpgId);
    if (!inventory || vpg?.definition.protectedSiteId === this.config.siteId) return;
    if (inventory.vms.some(({ id }) => vmIds.includes(id))) return;
    await this.fences.remove(vpgId, async (db) =>
      await this.audit.stageOwn(db, { action: 'ownership.fenceRemoved', entities: [`vpg:${vpgId}`, `site:${ownerSiteId}`], input: { epoch }, message: 'the last of its VMs has gone from this site' }));
    await this.audit.flush();
  }

  /** The VMs may write here again. @throws ZvmError ZVM_CONFLICT: not fenced, or not forced; then it names the risk */
  async claim(vpgId: string, { isForced, user }: { readonly isForced: boolean; readonly user: string }): Promise<void> {
    const fence = this.fences.find(vpgId);
    const vpgName = fence?.vpgName ?? this.vpgs.get(vpgId).definition.name;
    const refusal = claimRefusal({ fence, isDenied: fence !== undefined && this.#isDenied(fence), isForced, vpgName, ownerSiteName: fence?.ownerSiteName ?? '', ownSiteName: this.config.siteName });
    if (refusal !== undefined || !fence) throw conflict(refusal ?? '');
    const lifted: VpgFence = { ...fence, isLifted: true, liftedAtMs: this.clock.nowMs(), liftedBy: user };
    this.#claimedMs.set(fence.vpgId, this.clock.monotonicMs());
    await this.fences.put(lifted);
    currentNote()?.changed(fence, lifted);
    this.#changed();
    await this.#record('OwnershipClaimed', fence.vpgId, user, `'${user}' has claimed the VMs of VPG '${vpgName}' for this site by force; site ${fence.ownerSiteName} owns them since its failover (epoch ${fence.epoch})`);
  }

  async #record(type: string, vpgId: string, userName: string, description: string): Promise<void> {
    await this.events.record({ type, category: 'Events', entity: 'VPG', description, userName, isSuccess: true, vpgIds: [vpgId] });
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}
