import type { Command } from 'commander';
import { usage } from '../cli-error.js';
import type { Session } from '../context.js';
import { findVpg } from '../lookup.js';
import type { InSession } from '../program.js';
import { inDraft, isNoChange, putLimits, settingsChange, type SettingsOptions, withSettingsOptions } from './vpg-options.js';

interface SetOptions extends SettingsOptions {
  readonly wait: boolean;
}

export function addVpgSet(vpgs: Command, session: InSession): void {
  withSettingsOptions(vpgs.command('set').description('change what is given, leave the rest; VMs with limits of their own keep those').argument('<vpg>', 'name or identifier'))
    .option('--no-wait', 'do not wait for the task')
    .action((wanted: string, options: SetOptions, command: Command) => session(command, (one) => set(one, wanted, options)));
}

async function set({ client, output, task }: Session, wanted: string, options: SetOptions): Promise<void> {
  const change = settingsChange(options);
  if (isNoChange(change)) throw usage('nothing to change: give at least one option, see tidemark vpgs set --help');
  const vpg = await findVpg(client, wanted);
  const taskId = await inDraft(client, { VpgIdentifier: vpg.VpgIdentifier }, async (draft) => {
    if (Object.keys(change.basic).length > 0) await client.put(`${draft}/basic`, change.basic);
    await putLimits(client, draft, change);
  });
  await task(taskId, { isWaiting: options.wait });
  output.done({ TaskIdentifier: taskId }, options.wait ? `VPG '${vpg.VpgName}' is changed` : `changing '${vpg.VpgName}': task ${taskId}`);
}
