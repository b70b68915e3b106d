import { type Command } from 'commander';
import { type VmApi, type VraApi, type VraChangeRecoveryHostRecommendationResultApi, type VraVmAllocationApi } from '@tidemark/contracts';
import type { ApiClient } from '@tidemark/api-client';
import { missing, usage } from '../cli-error.js';
import { findOne } from '../lookup.js';
import { orDash } from '../output.js';
import type { InSession } from '../program.js';
import type { Session } from '../context.js';

interface MoveOptions {
  readonly vm?: string[];
  readonly to?: string;
  readonly dryRun?: boolean;
  readonly hostIsDown?: boolean;
  readonly alsoDown?: string[];
  readonly wait: boolean;
}

/** `tidemark evacuate`: what a VRA recovers goes to other hosts of its site. */
export function addRecoveryHostCommands(program: Command, session: InSession): void {
  program.command('evacuate').description('move what a VRA recovers to other hosts of this site; journals, volumes and checkpoints stay, no sync follows')
    .argument('<vra>', 'name or identifier')
    .option('--vm <vm...>', 'only these VMs, by name or identifier (all that it recovers)')
    .option('--to <host>', 'this host, by name or identifier (for each VM the one that recovers the fewest and sees its datastores)')
    .option('--host-is-down', 'its host is powered off or cut off from the datastore: take the journals without asking its VRA, which destroys them if it still writes')
    .option('--also-down <vra...>', 'with --host-is-down: VRAs of other hosts that are down too; what they recover of the same VPGs goes along')
    .option('--dry-run', 'show where each VM would go').option('--no-wait', 'do not wait for the task')
    .action((wanted: string, options: MoveOptions, command: Command) => session(command, (one) => evacuate(one, wanted, options)));
}

async function evacuate({ client, output, task }: Session, wanted: string, options: MoveOptions): Promise<void> {
  const vras = await client.get<VraApi[]>('/vras');
  const vra = findOne(wanted, { items: vras, idOf: (each) => each.VraIdentifierStr, nameOf: (each) => each.VraName, what: 'VRA' });
  const path = `/vras/${vra.VraIdentifierStr}/changerecoveryvra`;
  const others = options.alsoDown ?? [];
  if (others.length > 0 && options.hostIsDown !== true) throw usage('--also-down is said together with --host-is-down');
  const AlsoDown = others.map((name) => findOne(name, { items: vras, idOf: (each) => each.VraIdentifierStr, nameOf: (each) => each.VraName, what: 'VRA' }).VraIdentifierStr);
  const known = await client.get<VmApi[]>('/vms');
  const vmIds = (options.vm ?? []).map((name) => findOne(name, { items: known, idOf: (vm) => vm.VmIdentifier, nameOf: (vm) => vm.VmName, what: 'VM' }).VmIdentifier);
  const target = options.to === undefined ? undefined : hostOf(vras, options.to);
  const { Recommendations } = await recommendation(client, path, { vmIds, target, AlsoDown });
  if (options.dryRun === true) {
    return output.list(Recommendations, {
      VM: (row) => known.find((vm) => vm.VmIdentifier === row.VmIdentifier)?.VmName ?? row.VmIdentifier, TO: (row) => orDash(row.HostName), REASON: (row) => row.Reason,
    }, `${vra.VraName} recovers nothing`);
  }
  const stuck = Recommendations.filter(({ HostIdentifier }) => HostIdentifier === null || HostIdentifier === undefined);
  if (stuck.length > 0) throw missing(stuck.map(({ VmIdentifier, Reason }) => `VM ${VmIdentifier} can go nowhere: ${Reason}`).join('; '));
  const VmsAllocations = Recommendations.map(({ VmIdentifier, HostIdentifier }): VraVmAllocationApi => ({ VmIdentifier, HostIdentifier: HostIdentifier ?? '' }));
  if (VmsAllocations.length === 0) throw missing(`${vra.VraName} recovers nothing`);
  const taskId = await client.post(`${path}/execute`, { VmsAllocations, ...(options.hostIsDown === true && { HostIsDown: true }), ...(others.length > 0 && { AlsoDown }) });
  const ended = await task(taskId, { isWaiting: options.wait });
  output.done(ended ?? { TaskIdentifier: taskId }, ended ? `VMs of ${vra.VraName} that are recovered elsewhere now: ${String(VmsAllocations.length)}` : `started: task ${taskId}`);
}

function hostOf(vras: readonly VraApi[], wanted: string): string {
  const vra = findOne(wanted, { items: vras, idOf: (each) => each.HostIdentifier ?? '', nameOf: (each) => each.HostDisplayName ?? '', what: 'host' });
  if (vra.HostIdentifier === null || vra.HostIdentifier === undefined) throw usage(`'${wanted}' is no host`);
  return vra.HostIdentifier;
}

interface Wanted {
  readonly vmIds: readonly string[];
  readonly target: string | undefined;
  readonly AlsoDown: readonly string[];
}

async function recommendation(client: ApiClient, path: string, { vmIds, target, AlsoDown }: Wanted): Promise<VraChangeRecoveryHostRecommendationResultApi> {
  const free = await client.post<VraChangeRecoveryHostRecommendationResultApi>(`${path}/recommendation`, { VmsToCalculate: vmIds, AlsoDown });
  if (target === undefined) return free;
  const FixedVmsAllocations = free.Recommendations.map(({ VmIdentifier }): VraVmAllocationApi => ({ VmIdentifier, HostIdentifier: target }));
  return await client.post<VraChangeRecoveryHostRecommendationResultApi>(`${path}/recommendation`, { VmsToCalculate: vmIds, AlsoDown, Constraints: { FixedVmsAllocations } });
}
