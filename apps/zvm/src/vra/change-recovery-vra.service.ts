import { Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, invalid, notFound } from '../errors.js';
import { OperationService } from '../operation/operation.service.js';
import { PeerLinkService } from '../peer/peer-link.service.js';
import { SiteInventoryService, type SiteInventory } from '../site/site-inventory.service.js';
import { liveDisks } from '../vpg/followed-disks.js';
import { oldVraSilent } from '../vpg/operations/move-recovery.js';
import type { MoveTargets } from '../vpg/recovery-actions.service.js';
import type { VpgRecord, VpgVm } from '../vpg/vpg-model.js';
import { VpgStore } from '../vpg/vpg.store.js';
import type { EvacuateInput } from './evacuate-vra.js';
import { type Allocation, judgeMove, recommendHosts, type Recommendation, type SpreadHost, type SpreadVm, type Verdict } from './recovery-spread.js';
import type { VraRecord } from './vra-model.js';
import { VraLinkService } from './vra-link.service.js';
import { VraStore } from './vra.store.js';

interface Recovered {
  readonly vpg: VpgRecord;
  readonly vm: VpgVm;
}

/** Whose recoveries go. */
interface Relieved {
  readonly vra: VraRecord;
  /** Others that are down: what they recover of the same VPGs goes along. */
  readonly alsoDown: readonly VraRecord[];
}

interface ExecuteOptions {
  readonly initiatedBy: string;
  readonly isOldHostDown: boolean;
  readonly alsoDown: readonly string[];
}

/** What the VRA of a host recovers goes to other hosts of the site, where journals and volumes stay as they are. */
@Injectable()
export class ChangeRecoveryVra {
  constructor(
    private readonly vras: VraStore,
    private readonly vpgs: VpgStore,
    private readonly sites: SiteInventoryService,
    private readonly operations: OperationService,
    private readonly link: PeerLinkService,
    private readonly heartbeats: VraLinkService,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  async potentials(vraId: string, vmId: string): Promise<SpreadHost[]> {
    const { vms, hosts } = await this.#facts(this.#relieved(vraId, []));
    const vm = vms.find((each) => each.vmId === vmId);
    if (!vm) throw notFound('recovery of VM', vmId);
    return hosts.filter((host) => judgeMove({ ...vm, obstacle: '' }, host).status !== 'Error');
  }

  async validate(vraId: string, allocations: readonly Allocation[], alsoDown: readonly string[] = []): Promise<(Allocation & Verdict)[]> {
    const relieved = this.#relieved(vraId, alsoDown);
    const { vms, hosts } = await this.#facts(relieved);
    return allocations.map(({ vmId, hostId }) => {
      const vm = vms.find((each) => each.vmId === vmId);
      const verdict: Verdict = vm ? judgeMove(vm, hosts.find((host) => host.hostId === hostId)) : { status: 'Error', reason: `${namesOf(relieved)} does not recover VM ${vmId}` };
      return { vmId, hostId, ...verdict };
    });
  }

  async recommend(vraId: string, { vmIds, fixed, alsoDown }: { readonly vmIds: readonly string[]; readonly fixed: readonly Allocation[]; readonly alsoDown: readonly string[] }): Promise<Recommendation[]> {
    const { vms, hosts } = await this.#facts(this.#relieved(vraId, alsoDown));
    const stranger = vmIds.find((vmId) => !vms.some((vm) => vm.vmId === vmId));
    if (stranger !== undefined) throw notFound('recovery of VM', stranger);
    return recommendHosts(vmIds.length === 0 ? vms : vms.filter(({ vmId }) => vmIds.includes(vmId)), hosts, fixed);
  }

  /** Answers the task id. Without allocations: everything, as recommended. @throws ZvmError ZVM_INVALID, ZVM_CONFLICT that names every VM which cannot go */
  async execute(vraId: string, wanted: readonly Allocation[], { initiatedBy, isOldHostDown, alsoDown }: ExecuteOptions): Promise<string> {
    if (alsoDown.length > 0 && !isOldHostDown) throw invalid('AlsoDown: only together with HostIsDown');
    const relieved = this.#relieved(vraId, alsoDown);
    const { vra } = relieved;
    if (!isOldHostDown && !this.heartbeats.isAlive(vraId)) throw conflict(oldVraSilent(vra.name));
    if (!this.heartbeats.isAlive(vraId)) this.#assertOthersAnswer(relieved);
    const allocations = wanted.length > 0 ? wanted : await this.#everything(relieved);
    const faults = (await this.validate(vraId, allocations, alsoDown)).filter(({ status }) => status === 'Error');
    if (faults.length > 0) throw invalid(faults.map(({ vmId, reason }) => `VM ${vmId}: ${reason}`).join('; '));
    const moves = (await this.#movesOf(relieved, allocations)).map((move) => ({ ...move, isOldHostDown }));
    const input: EvacuateInput = { vraId, name: vra.name, moves };
    return await this.operations.begin({
      kind: 'evacuateVra', input, vpgId: null, initiatedBy, related: { vpgIds: moves.map(({ vpgId }) => vpgId), hostIds: [vra, ...relieved.alsoDown].map(({ hostId }) => hostId) },
    });
  }

  /** @throws ZvmError ZVM_CONFLICT for one that is said to be down and answers */
  #relieved(vraId: string, alsoDown: readonly string[]): Relieved {
    const others = alsoDown.filter((id) => id !== vraId).map((id) => this.vras.get(id));
    const alive = others.find((other) => this.heartbeats.isAlive(other.vraId));
    if (alive) throw conflict(`VRA ${alive.name} answers, so its host is not down: leave it out`);
    return { vra: this.vras.get(vraId), alsoDown: others };
  }

  /** All recovering VRAs of a VPG are told who retires with whom. Two that are down cannot go one after the other: each would wait for the other one. */
  #assertOthersAnswer(relieved: Relieved): void {
    const ids = idsOf(relieved);
    for (const { definition } of this.#vpgsOf(relieved)) {
      const silent = definition.vms.map(({ recoveringVra }) => recoveringVra.vraId).find((id) => !ids.includes(id) && !this.heartbeats.isAlive(id));
      if (silent === undefined) continue;
      const name = this.vras.find(silent)?.name ?? silent;
      throw conflict(`VRA ${name} does not answer either, and recovers VMs of VPG '${definition.name}' too: start it; or, if its host too is powered off or cut off from the datastore, move the recoveries of both in one go, with AlsoDown (tidemark evacuate ${relieved.vra.name} --host-is-down --also-down ${name})`);
    }
  }

  async #everything({ vra, alsoDown }: Relieved): Promise<Allocation[]> {
    const recommended = await this.recommend(vra.vraId, { vmIds: [], fixed: [], alsoDown: alsoDown.map(({ vraId }) => vraId) });
    if (recommended.length === 0) throw conflict(`${vra.name} recovers nothing`);
    const stuck = recommended.filter(({ host }) => host === undefined);
    if (stuck.length > 0) throw conflict(`${vra.name} cannot be evacuated: ${stuck.map(({ vmId, reason }) => `VM ${vmId}: ${reason}`).join('; ')}`);
    return recommended.map(({ vmId, host }) => ({ vmId, hostId: host?.hostId ?? '' }));
  }

  /** One move for each VPG: a VM in several of them goes with each. */
  async #movesOf(relieved: Relieved, allocations: readonly Allocation[]): Promise<EvacuateInput['moves']> {
    const { vras } = await this.sites.fresh(this.config.siteId);
    const hostOf = new Map(allocations.map(({ vmId, hostId }) => [vmId, hostId]));
    const byVpg = new Map<VpgRecord, MoveTargets['targets'][number][]>();
    for (const { vpg, vm } of this.#recoveredBy(relieved)) {
      const hostId = hostOf.get(vm.vmId);
      const target = vras.find((each) => each.hostId === hostId);
      if (hostId === undefined || !target) continue;
      const address = { vraId: target.vraId, address: target.address, controlPort: target.controlPort, dataPort: target.dataPort };
      byVpg.set(vpg, [...(byVpg.get(vpg) ?? []), { vmId: vm.vmId, hostId, vra: address }]);
    }
    return [...byVpg].map(([{ definition }, targets]) => ({ vpgId: definition.vpgId, vpgName: definition.name, taskId: `${this.config.siteId}.${randomUUID()}`, targets }));
  }

  /** Of which the VRA recovers VMs. */
  #vpgsOf({ vra }: Relieved): VpgRecord[] {
    return this.vpgs.visible().filter(({ definition: { recoverySiteId, vms } }) => recoverySiteId === this.config.siteId && vms.some(({ recoveringVra }) => recoveringVra.vraId === vra.vraId));
  }

  #recoveredBy(relieved: Relieved): Recovered[] {
    const ids = idsOf(relieved);
    return this.#vpgsOf(relieved).flatMap((vpg) => vpg.definition.vms.filter((vm) => ids.includes(vm.recoveringVra.vraId)).map((vm) => ({ vpg, vm })));
  }

  async #facts(relieved: Relieved): Promise<{ readonly vms: SpreadVm[]; readonly hosts: SpreadHost[] }> {
    const known = await this.sites.fresh(this.config.siteId);
    const byVm = new Map<string, Recovered[]>();
    for (const recovered of this.#recoveredBy(relieved)) byVm.set(recovered.vm.vmId, [...(byVm.get(recovered.vm.vmId) ?? []), recovered]);
    return { vms: [...byVm.values()].map((each) => this.#spreadVm(each)), hosts: this.#hosts(known) };
  }

  #spreadVm(recovered: readonly Recovered[]): SpreadVm {
    const [{ vm }] = recovered as readonly [Recovered];
    return {
      vmId: vm.vmId, name: vm.name, hostId: vm.recoveryHostId,
      datastoreIds: [...new Set(recovered.flatMap((each) => [each.vm.journalDatastore.id, ...liveDisks(each.vm).map(({ recoveryDatastoreId }) => recoveryDatastoreId)]))],
      obstacle: recovered.map(({ vpg }) => obstacleOf(vpg)).find((text) => text !== '') ?? '',
      remark: recovered.map(({ vpg }) => this.#remarkOn(vpg)).find((text) => text !== '') ?? '',
    };
  }

  #remarkOn({ definition }: VpgRecord): string {
    if (definition.protectedSiteId === this.config.siteId || this.link.isAlive(definition.protectedSiteId)) return '';
    return `site ${definition.protectedSiteName} does not answer: VPG '${definition.name}' replicates to the other host when it is heard again`;
  }

  #hosts({ inventory, vras }: SiteInventory): SpreadHost[] {
    const vms = this.vpgs.visible().filter(({ definition }) => definition.recoverySiteId === this.config.siteId).flatMap(({ definition }) => definition.vms);
    return inventory.hosts.map((host) => {
      const vra = vras.find(({ hostId }) => hostId === host.id);
      return {
        hostId: host.id, name: host.name, datastoreIds: host.datastoreIds, hasVra: vra?.isAlive === true,
        vmCount: vms.filter(({ recoveringVra }) => recoveringVra.vraId === vra?.vraId).length,
      };
    });
  }
}

const idsOf = ({ vra, alsoDown }: Relieved): string[] => [vra, ...alsoDown].map(({ vraId }) => vraId);
const namesOf = ({ vra, alsoDown }: Relieved): string => [vra, ...alsoDown].map(({ name }) => name).join(', ');

function obstacleOf({ definition, state, failoverTest }: VpgRecord): string {
  if (failoverTest) return `a failover test of VPG '${definition.name}' runs: stop it first`;
  return state === 'protecting' ? '' : `VPG '${definition.name}' is ${state}: only a VPG that protects can be moved`;
}
