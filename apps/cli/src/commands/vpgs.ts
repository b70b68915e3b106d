import type { Command } from 'commander';
import type { VmApi, VpgApi, VpgCheckpointsStatsApi } from '@tidemark/contracts';
import { PRIORITY } from '@tidemark/contracts/enumerations';
import type { Session } from '../context.js';
import { findVpg } from '../lookup.js';
import { nameOf } from '../names.js';
import { megabytesText, orDash, timeText } from '../output.js';
import type { InSession } from '../program.js';
import { historyText, remarkText, rpoText, statusText, syncText, vpgTable } from '../vpg-table.js';
import { addVpgCreate } from './vpg-create.js';
import { addVpgSet } from './vpg-set.js';
import { addVpgWatch } from './vpg-watch.js';

export function addVpgCommands(program: Command, session: InSession): void {
  const vpgs = program.command('vpgs').description('virtual protection groups');

  vpgs.command('list', { isDefault: true }).description('all VPGs that this site protects or recovers')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      const found = await client.get<VpgApi[]>('/vpgs');
      if (output.format === 'json') output.json(found);
      else if (found.length === 0) output.note('there are no VPGs');
      else output.text(vpgTable(output, found));
    }));

  vpgs.command('show').description('one VPG').argument('<vpg>', 'name or identifier')
    .action((wanted: string, _options, command: Command) => session(command, (one) => show(one, wanted)));

  addVpgCreate(vpgs, session);
  addVpgSet(vpgs, session);
  addVpgWatch(vpgs, session);

  const steers = [
    ['force-sync', 'compare all its volumes with the recovery site and send what differs; checkpoints stay', 'forcesync', 'is being compared'],
    ['pause', 'stop sending; it can still be recovered to its last checkpoint', 'pause', 'is paused'],
    ['resume', 'go on after a pause', 'resume', 'goes on'],
  ] as const;
  for (const [name, description, path, done] of steers) {
    vpgs.command(name).description(description).argument('<vpg>', 'name or identifier').option('--no-wait', 'do not wait for the task')
      .action((wanted: string, options: { wait: boolean }, command: Command) => session(command, async ({ client, output, task }) => {
        const vpg = await findVpg(client, wanted);
        const taskId = await client.post(`/vpgs/${vpg.VpgIdentifier}/${path}`, {});
        await task(taskId, { isWaiting: options.wait });
        output.done({ TaskIdentifier: taskId }, options.wait ? `VPG '${vpg.VpgName}' ${done}` : `asked for: task ${taskId}`);
      }));
  }

  vpgs.command('delete').description('end the protection of its VMs').argument('<vpg>', 'name or identifier')
    .option('--keep-recovery-volumes', 'keep the recovery volumes').option('--force', 'although the other site does not answer').option('--no-wait', 'do not wait for the task').option('-y, --yes', 'do not ask')
    .action((wanted: string, options: { keepRecoveryVolumes?: boolean; force?: boolean; wait: boolean; yes?: boolean }, command: Command) => session(command, async ({ client, output, task, confirm }) => {
      const vpg = await findVpg(client, wanted);
      await confirm(`Deleting '${vpg.VpgName}' deletes its journals, all its checkpoints${options.keepRecoveryVolumes === true ? '' : ' and its recovery volumes'}.`, options.yes === true);
      const taskId = await client.delete(`/vpgs/${vpg.VpgIdentifier}`, { KeepRecoveryVolumes: options.keepRecoveryVolumes ?? false, Force: options.force ?? false });
      await task(taskId, { isWaiting: options.wait });
      output.done({ TaskIdentifier: taskId }, options.wait ? `VPG '${vpg.VpgName}' deleted` : `deleting '${vpg.VpgName}': task ${taskId}`);
    }));
}

async function show({ client, output }: Session, wanted: string): Promise<void> {
  const vpg = await findVpg(client, wanted);
  const vms = (await client.get<VmApi[]>('/vms', { vpgName: vpg.VpgName })).filter((vm) => vm.VpgIdentifier === vpg.VpgIdentifier);
  const stats = await client.get<VpgCheckpointsStatsApi>(`/vpgs/${vpg.VpgIdentifier}/checkpoints/stats`);
  if (output.format === 'json') return output.json({ ...vpg, Vms: vms, Checkpoints: stats });
  output.facts(vpg, {
    name: vpg.VpgName, identifier: vpg.VpgIdentifier, status: statusText(output, vpg), remark: remarkText(vpg), sync: syncText(vpg),
    RPO: `${rpoText(vpg)}, target ${vpg.ConfiguredRpoSeconds} s`, history: `${historyText(vpg)}, target ${Math.floor((vpg.HistoryStatusApi?.ConfiguredHistoryInMinutes ?? 0) / 60)} h`,
    checkpoints: stats.Earliest && stats.Latest ? `${stats.Earliest.CheckpointIdentifier} (${timeText(stats.Earliest.TimeStamp)}) to ${stats.Latest.CheckpointIdentifier} (${timeText(stats.Latest.TimeStamp)})` : 'none',
    sites: `${orDash(vpg.ProtectedSiteName)} → ${orDash(vpg.RecoverySiteName)}`, priority: nameOf(PRIORITY, vpg.Priority),
    test: vpg.ActiveProcessesApi?.RunningFailOverTestApi ? 'running now' : `last: ${timeText(vpg.LastTest)}`,
  });
  output.text('');
  output.list(vms, {
    VM: (vm) => vm.VmName, DISKS: (vm) => String((vm.Volumes ?? []).length), SIZE: (vm) => megabytesText(vm.ProvisionedStorageInMB), JOURNAL: (vm) => megabytesText(vm.JournalUsedStorageMb),
    'RUNS ON': (vm) => orDash(vm.OwningHostName), 'RECOVERS ON': (vm) => orDash(vm.RecoveryHostName), IDENTIFIER: (vm) => vm.VmIdentifier,
  }, 'the VPG has no VMs');
}
