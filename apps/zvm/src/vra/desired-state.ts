import type { AttachedVmV1, BarrierV1, DesiredStateV1, ProtectionV1, ThrottleV1, TrustV1, VraAddressV1 } from '@tidemark/contracts';
import type { Inventory, Vm } from '@tidemark/hypervisor';
import { isLetGo, type KnownVra, type VraCustody, type VraWord } from '@tidemark/vpg';
import { actualDisk } from '../vpg/followed-disks.js';
import { isReplicating, type VpgDefinition, type VpgRecord, type VpgVm } from '../vpg/vpg-model.js';
import type { VraRecord } from './vra-model.js';

export interface SiteFacts {
  readonly siteId: string;
  readonly trust: TrustV1;
  /** VMs that another site owns since a failover. */
  readonly fencedVmIds: ReadonlySet<string>;
  readonly inventory: Inventory;
  readonly vras: readonly VraRecord[];
  /** What a VRA said last, however old; undefined: it was not heard of since this ZVM started. */
  readonly wordOf: (vraId: string) => VraWord | undefined;
  /** What it was told since. */
  readonly custodyOf: (vraId: string) => VraCustody;
  readonly vpgs: readonly VpgRecord[];
  readonly ports: { readonly control: number; readonly data: number };
  readonly priorityOf: (definition: VpgDefinition) => ProtectionV1['priority'];
  readonly isCompressedOf: (definition: VpgDefinition) => boolean;
}

export type BarrierContent = Omit<BarrierV1, 'version'>;

export interface VraContent {
  readonly trust: TrustV1;
  readonly attachedVms: AttachedVmV1[];
  readonly protections: ProtectionV1[];
  /** Their versions are given by who keeps them. */
  readonly barriers: BarrierContent[];
  /** Absent: no limit. */
  readonly throttle?: ThrottleV1;
}

/** What each VRA of this site shall do on the sending side, from the inventory and the VPGs alone; same facts, same answer. */
export function desiredContents(facts: SiteFacts): Map<string, VraContent> {
  const contents = new Map<string, VraContent>();
  const vraOfHost = new Map<string, VraRecord>();
  for (const vra of facts.vras) {
    contents.set(vra.vraId, { trust: facts.trust, attachedVms: [], protections: [], barriers: [] });
    vraOfHost.set(vra.hostId, vra);
  }
  const vpgs = facts.vpgs.filter((vpg) => vpg.definition.protectedSiteId === facts.siteId && isReplicating(vpg)).sort(byId);
  const protectedVmIds = new Set(vpgs.flatMap((vpg) => vpg.definition.vms.map((vm) => vm.vmId)));
  for (const vm of facts.inventory.vms) {
    const content = contents.get(vraOfHost.get(vm.hostId)?.vraId ?? '');
    if (content && isAttached(vm, protectedVmIds) && isFree(vm, facts)) content.attachedVms.push(attachedOf(vm, facts.fencedVmIds));
  }
  for (const vpg of vpgs) addVpg(vpg, { facts, contents, vraOfHost });
  for (const content of contents.values()) content.attachedVms.sort((a, b) => (a.vmId < b.vmId ? -1 : 1));
  return contents;
}

const byId = (a: VpgRecord, b: VpgRecord): number => (a.definition.vpgId < b.definition.vpgId ? -1 : 1);

/** A protected VM stays attached while it is off: its stream stands, so the VPG goes on making checkpoints that hold it. */
function isAttached(vm: Vm, protectedVmIds: ReadonlySet<string>): boolean {
  const isWhole = vm.disks.every((disk) => disk.isFile);
  return isWhole && (vm.powerState === 'poweredOn' || protectedVmIds.has(vm.id));
}

/** A file has a lock, which keeps a second VRA off it; a disk behind an NBD server has none (ADR 0020). */
function isFree(vm: Vm, { vras, wordOf, custodyOf }: SiteFacts): boolean {
  if (vm.disks.every(({ location }) => location.startsWith('/'))) return true;
  const known = (vra: VraRecord): KnownVra => ({ custody: custodyOf(vra.vraId), word: wordOf(vra.vraId) });
  const own = vras.find(({ hostId }) => hostId === vm.hostId);
  return isLetGo(vm.id, own && known(own), vras.filter((vra) => vra !== own).map(known));
}

function attachedOf(vm: Vm, fencedVmIds: ReadonlySet<string>): AttachedVmV1 {
  return {
    vmId: vm.id,
    ...(fencedVmIds.has(vm.id) && { isFenced: true }),
    disks: vm.disks.map((disk) => ({ diskId: disk.id, exportName: disk.exportName, path: disk.location, sizeBytes: disk.sizeBytes })),
  };
}

interface Assembly {
  readonly facts: SiteFacts;
  readonly contents: Map<string, VraContent>;
  readonly vraOfHost: ReadonlyMap<string, VraRecord>;
}

function addVpg(vpg: VpgRecord, { facts, contents, vraOfHost }: Assembly): void {
  const { definition } = vpg;
  const members = new Map<string, string[]>();
  let isWhole = true;
  for (const vm of definition.vms) {
    const running = facts.inventory.vms.find((candidate) => candidate.id === vm.vmId);
    const vra = running && vraOfHost.get(running.hostId);
    const content = vra && contents.get(vra.vraId);
    if (!content) {
      isWhole = false;
      continue;
    }
    content.protections.push(protectionOf(vpg, { vm, running }, facts));
    members.set(vra.vraId, [...(members.get(vra.vraId) ?? []), vm.vmId]);
  }
  // A checkpoint without one of the VMs could not recover the VPG: rather none, and a growing RPO that everyone sees.
  if (!isWhole || members.size === 0) return;
  const barrier = barrierOf(vpg, members, facts);
  for (const vraId of members.keys()) contents.get(vraId)?.barriers.push(barrier);
}

/** Indexes, in the stream, of volumes that are copied once. */
function tempVolumesOf(vm: VpgVm): Pick<ProtectionV1, 'tempVolumes'> {
  const tempVolumes = [...vm.disks.keys()].filter((volume) => vm.disks[volume]?.isTempData === true);
  return tempVolumes.length === 0 ? {} : { tempVolumes };
}

function protectionOf(vpg: VpgRecord, { vm, running }: { readonly vm: VpgVm; readonly running: Vm }, facts: SiteFacts): ProtectionV1 {
  return {
    vpgId: vpg.definition.vpgId,
    vmId: vm.vmId,
    epoch: vpg.epoch,
    diskIds: vm.disks.map((disk) => actualDisk(running, disk)?.id ?? ''),
    volumeBytes: vm.disks.map(({ sizeBytes, isRemoved }) => (isRemoved === true ? 0 : sizeBytes)),
    ...tempVolumesOf(vm),
    recoveringVra: vm.recoveringVra,
    recoverySiteId: vpg.definition.recoverySiteId,
    isCompressed: facts.isCompressedOf(vpg.definition),
    priority: facts.priorityOf(vpg.definition),
    ...(vm.basis && { basisId: vm.basis.basisId }),
    ...(vpg.definition.isPaused === true && { isPaused: true }),
  };
}

function barrierOf(vpg: VpgRecord, members: ReadonlyMap<string, string[]>, facts: SiteFacts): BarrierContent {
  const ordered = facts.vras.filter((vra) => members.has(vra.vraId));
  return {
    vpgId: vpg.definition.vpgId,
    epoch: vpg.epoch,
    intervalMs: vpg.definition.checkpointIntervalMs,
    members: ordered.map((vra) => ({ vra: addressOf(vra, facts.ports), vmIds: [...(members.get(vra.vraId) ?? [])].sort() })),
  };
}

export function addressOf(vra: VraRecord, ports: { readonly control: number; readonly data: number }): VraAddressV1 {
  return { vraId: vra.vraId, address: vra.address, controlPort: ports.control, dataPort: ports.data };
}

/** The document for one VRA; its revision is what the store counted. */
export function desiredState(content: VraContent, { revision, versionOf }: { readonly revision: number; readonly versionOf: (vpgId: string) => number }): DesiredStateV1 {
  return {
    revision,
    trust: content.trust,
    attachedVms: content.attachedVms,
    protections: content.protections,
    barriers: content.barriers.map((barrier) => ({ ...barrier, version: versionOf(barrier.vpgId) })),
    ...(content.throttle ? { throttle: content.throttle } : {}),
  };
}
