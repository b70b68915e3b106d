import type { Command } from 'commander';
import type { AlertApi, TaskApi } from '@tidemark/contracts';
import { ALERT_ENTITY, ALERT_LEVEL, TASK_STATE } from '@tidemark/contracts/enumerations';
import { nameOf, TASK_TYPE_TITLES } from '../names.js';
import { orDash, timeText } from '../output.js';
import type { InSession } from '../program.js';

const SHOWN = 20;

export function addTaskCommands(program: Command, session: InSession): void {
  const tasks = program.command('tasks').description('what the site does and has done');

  tasks.command('list', { isDefault: true }).description('newest last').option('--all', `more than the newest ${SHOWN}`)
    .action((options: { all?: boolean }, command: Command) => session(command, async ({ client, output }) => {
      const found = (await client.get<TaskApi[]>('/tasks')).sort((a, b) => a.Started.localeCompare(b.Started));
      output.list(options.all === true || output.format === 'json' ? found : found.slice(-SHOWN), {
        TASK: typeText, STATE: (task) => nameOf(TASK_STATE, task.Status.State), '%': (task) => String(task.Status.Progress), STARTED: (task) => timeText(task.Started),
        ENDED: (task) => timeText(task.Completed), BY: (task) => orDash(task.InitiatedBy), IDENTIFIER: (task) => task.TaskIdentifier,
        REMARK: (task) => orDash(task.CurrentStep ?? task.CompleteReason),
      }, 'there are no tasks');
    }));

  tasks.command('show').argument('<task>', 'identifier').description('one task')
    .action((taskId: string, _options, command: Command) => session(command, async ({ client, output }) => {
      const task = await client.get<TaskApi>(`/tasks/${encodeURIComponent(taskId)}`);
      output.facts(task, {
        task: typeText(task), state: nameOf(TASK_STATE, task.Status.State), progress: `${task.Status.Progress} %`, step: orDash(task.CurrentStep),
        started: timeText(task.Started), ended: timeText(task.Completed), by: orDash(task.InitiatedBy), remark: orDash(task.CompleteReason),
      });
    }));

  tasks.command('wait').argument('<task>', 'identifier').description('until it has ended; exit code 1 when it failed')
    .action((taskId: string, _options, command: Command) => session(command, async ({ output, task }) => {
      const ended = await task(taskId, { isWaiting: true });
      output.done(ended ?? {}, 'completed');
    }));

  program.command('alerts').description('what is wrong now').option('--all', 'dismissed ones too')
    .action((options: { all?: boolean }, command: Command) => session(command, async ({ client, output }) => {
      const alerts = await client.get<AlertApi[]>('/alerts', options.all === true ? {} : { isDismissed: false });
      const { colors } = output;
      output.list(alerts, {
        ALERT: (alert) => alert.HelpIdentifier, LEVEL: (alert) => (alert.Level === 1 ? colors.red : colors.yellow)(nameOf(ALERT_LEVEL, alert.Level)),
        ABOUT: (alert) => nameOf(ALERT_ENTITY, alert.Entity), SINCE: (alert) => timeText(alert.TurnedOn), DESCRIPTION: (alert) => alert.Description,
      }, 'no alerts');
    }));
}

const typeText = (task: TaskApi): string => TASK_TYPE_TITLES[task.Type] ?? `type ${task.Type}`;
