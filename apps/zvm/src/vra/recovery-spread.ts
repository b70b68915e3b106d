/** A host of this site that could recover VMs. */
export interface SpreadHost {
  readonly hostId: string;
  readonly name: string;
  readonly datastoreIds: readonly string[];
  /** It has a VRA, installed and heard of. */
  readonly hasVra: boolean;
  /** VMs recovered there now. */
  readonly vmCount: number;
}

/** A VM that is recovered by the VRA that is to be relieved. */
export interface SpreadVm {
  readonly vmId: string;
  readonly name: string;
  readonly hostId: string;
  /** Where its journals and recovery volumes lie. */
  readonly datastoreIds: readonly string[];
  /** Why nothing of it can be moved now; empty: it can. */
  readonly obstacle: string;
  /** What is worth knowing, and no obstacle; empty: nothing. */
  readonly remark: string;
}

export interface Verdict {
  readonly status: 'Ok' | 'Warning' | 'Error';
  readonly reason: string;
}

export interface Allocation {
  readonly vmId: string;
  readonly hostId: string;
}

export interface Recommendation {
  readonly vmId: string;
  readonly host: SpreadHost | undefined;
  readonly reason: string;
}

/** Journals and volumes stay where they are: the other host must see them. */
export function judgeMove(vm: SpreadVm, host: SpreadHost | undefined): Verdict {
  if (!host) return { status: 'Error', reason: 'there is no such host at this site' };
  if (host.hostId === vm.hostId) return { status: 'Error', reason: `host ${host.name} recovers '${vm.name}' already` };
  if (!host.hasVra) return { status: 'Error', reason: `host ${host.name} has no VRA that answers` };
  const unseen = vm.datastoreIds.filter((id) => !host.datastoreIds.includes(id));
  if (unseen.length > 0) return { status: 'Error', reason: `host ${host.name} does not see datastore ${unseen.join(', ')}, where journal or volumes of '${vm.name}' lie, and a move copies nothing: attach the datastore to that host; or delete the VPG keeping its recovery volumes, and create it anew there with them as preseed` };
  if (vm.obstacle !== '') return { status: 'Error', reason: vm.obstacle };
  return vm.remark === '' ? { status: 'Ok', reason: '' } : { status: 'Warning', reason: vm.remark };
}

/** Each VM to the host that recovers the fewest, counting what goes there before it; fixed ones first. */
export function recommendHosts(vms: readonly SpreadVm[], hosts: readonly SpreadHost[], fixed: readonly Allocation[] = []): Recommendation[] {
  const counts = new Map(hosts.map((host) => [host.hostId, host.vmCount]));
  const add = (hostId: string): void => void counts.set(hostId, (counts.get(hostId) ?? 0) + 1);
  const fixedHosts = new Map(fixed.map(({ vmId, hostId }) => [vmId, hostId]));
  for (const { vmId } of vms) {
    const hostId = fixedHosts.get(vmId);
    if (hostId !== undefined) add(hostId);
  }
  return vms.map((vm) => {
    const hostId = fixedHosts.get(vm.vmId);
    if (hostId !== undefined) {
      const host = hosts.find((each) => each.hostId === hostId);
      const { status, reason } = judgeMove(vm, host);
      return { vmId: vm.vmId, host: status === 'Error' ? undefined : host, reason: reason === '' ? 'as asked for' : reason };
    }
    const possible = hosts.filter((host) => judgeMove(vm, host).status !== 'Error');
    const [best] = possible.sort((a, b) => (counts.get(a.hostId) ?? 0) - (counts.get(b.hostId) ?? 0));
    if (!best) return { vmId: vm.vmId, host: undefined, reason: whyNowhere(vm, hosts) };
    const reason = `recovers the fewest VMs (${String(counts.get(best.hostId) ?? 0)}) of the hosts that see its datastores`;
    add(best.hostId);
    return { vmId: vm.vmId, host: best, reason };
  });
}

function whyNowhere(vm: SpreadVm, hosts: readonly SpreadHost[]): string {
  if (vm.obstacle !== '') return vm.obstacle;
  const others = hosts.filter(({ hostId }) => hostId !== vm.hostId);
  if (others.length === 0) return 'this site has no other host';
  return others.map((host) => judgeMove(vm, host).reason).join('; ');
}
