import { Inject, Injectable, Logger } from '@nestjs/common';
import { ControlError } from '@tidemark/nest';
import { faultsText, validateVpgSettings, type VpgSettings } from '@tidemark/vpg';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { invalid } from '../errors.js';
import { PeerStore } from '../peer/peer.store.js';
import { RecoveryScripts } from '../script/recovery-scripts.service.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { SiteInventoryService, type SiteInventory } from '../site/site-inventory.service.js';
import type { VpgDefinition, VpgRecord } from '../vpg/vpg-model.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { preseedRules } from './preseed-path.js';
import { factsOf, planDefinition, planDisks } from './plan-definition.js';
import { reversedDefinition } from './reversed-definition.js';

/** Turns settings into a definition, at the recovery site: it knows its own room, and asks the protected site for its VMs. */
@Injectable()
export class DefinitionService {
  readonly #log = new Logger(DefinitionService.name);

  constructor(
    private readonly sites: SiteInventoryService,
    private readonly peers: PeerStore,
    private readonly vpgs: VpgStore,
    private readonly vras: VraLinkService,
    private readonly scripts: RecoveryScripts,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** @throws ZvmError ZVM_INVALID with every fault found, ZVM_PEER_DOWN */
  async define(settings: VpgSettings, { vpgId, askedBySiteId }: { readonly vpgId: string; readonly askedBySiteId?: string | undefined }): Promise<VpgDefinition> {
    const { protectedSiteIdentifier: from, recoverySiteIdentifier: to } = settings.basic;
    const [protectedSite, recoverySite] = [this.#siteOf(from, 'ProtectedSiteIdentifier'), this.#siteOf(to, 'RecoverySiteIdentifier')];
    const [atProtected, atRecovery] = await Promise.all([this.sites.fresh(protectedSite.siteId), this.sites.fresh(recoverySite.siteId)]);
    const faults = validateVpgSettings(settings, factsOf({
      vpgId, sites: this.#sites(), vpgs: this.vpgs.visible().map(({ definition }) => definition), protectedSite: atProtected, recoverySite: atRecovery,
    }));
    if (faults.length > 0) throw invalid(faultsText(faults));
    assertCaptured(settings, atProtected);
    await this.scripts.check(settings);
    return planDefinition(settings, {
      vpgId,
      protectedSite: { ...protectedSite, known: atProtected },
      recoverySite: { ...recoverySite, known: atRecovery },
      checkpointIntervalMs: this.config.checkpointIntervalMs,
      preseeds: preseedRules(this.vpgs.visible().map(({ definition }) => definition), { vpgId, recoverySiteId: this.config.siteId, askedBySiteId }),
    });
  }

  /** With the disks that its VMs have now. @throws ZvmError ZVM_PEER_DOWN */
  async withDisksOfNow(definition: VpgDefinition): Promise<VpgDefinition> {
    const [atProtected, atRecovery] = await Promise.all([this.sites.fresh(definition.protectedSiteId), this.sites.fresh(definition.recoverySiteId)]);
    return planDisks(definition, atProtected, atRecovery);
  }

  /**
   * The files are looked at by the VRAs that will open them. A paired site is not told which files there are, nor how long: the log here says more.
   * @throws ZvmError ZVM_INVALID naming every one that cannot be used, ZVM_VRA_DOWN
   */
  async checkPreseeds({ vms }: VpgDefinition, askedBySiteId?: string): Promise<void> {
    const disks = vms.flatMap((vm) => vm.disks.filter(({ isPreseeded }) => isPreseeded === true).map((disk) => ({ vm, disk })));
    const faults = await Promise.all(disks.map(async ({ vm, disk: { diskId, mirrorPath, sizeBytes } }) => {
      try {
        await this.vras.checkPreseed(vm.recoveringVra.vraId, { path: mirrorPath, sizeBytes });
        return [];
      } catch (error) {
        if (!(error instanceof ControlError)) throw error;
        const fault = `Preseed of disk ${diskId} of '${vm.name}': `;
        if (askedBySiteId === undefined) return [`${fault}${error.message}`];
        this.#log.warn(`asked by site ${askedBySiteId}: ${fault}${error.message}`);
        return [`${fault}there is no file ${mirrorPath} of ${sizeBytes} bytes that nobody uses; the log of site ${this.config.siteName} says what is wrong`];
      }
    }));
    if (faults.flat().length > 0) throw invalid(faults.flat().join('; '));
  }

  /** The VPG of a committed failover in the other direction, with this site as the one that recovers. @throws ZvmError ZVM_CONFLICT, ZVM_PEER_DOWN */
  async reversed(record: VpgRecord): Promise<VpgDefinition> {
    const { protectedSiteId, recoverySiteId } = record.definition;
    const [oldSite, newSite] = await Promise.all([this.sites.fresh(protectedSiteId), this.sites.fresh(recoverySiteId)]);
    return reversedDefinition({ record, oldSite, newSite });
  }

  #sites(): { readonly siteId: string; readonly name: string }[] {
    return [{ siteId: this.config.siteId, name: this.config.siteName }, ...this.peers.all().map(({ siteId, name }) => ({ siteId, name }))];
  }

  #siteOf(siteId: string | null, field: string): { readonly siteId: string; readonly name: string } {
    if (siteId === null || siteId === '') throw invalid(`Basic.${field}: a site must be chosen`);
    const site = this.#sites().find((candidate) => candidate.siteId === siteId);
    if (!site) throw invalid(`Basic.${field}: site ${siteId} is not this site and not paired with it`);
    return site;
  }
}

/** A VM can only be protected where a VRA stands before its disks. */
function assertCaptured(settings: VpgSettings, { inventory, vras }: SiteInventory): void {
  const faults = settings.vms.flatMap(({ vmIdentifier }, index) => {
    const vm = inventory.vms.find(({ id }) => id === vmIdentifier);
    if (!vm) return [];
    const host = inventory.hosts.find(({ id }) => id === vm.hostId);
    if (!vras.some((vra) => vra.hostId === vm.hostId)) return [`Vms[${index}]: host '${host?.name ?? vm.hostId}', where '${vm.name}' runs, has no VRA`];
    return vm.disks.every((disk) => disk.isFile) ? [] : [`Vms[${index}]: '${vm.name}' is a recovered VM whose disks are not promoted yet`];
  });
  if (faults.length > 0) throw invalid(faults.join('; '));
}
