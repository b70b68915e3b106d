import type { Command } from 'commander';
import type { AuditEntryApi, AuditVerificationApi } from '@tidemark/contracts';
import { AUDIT_RESULT } from '@tidemark/contracts/enumerations';
import { CliError } from '../cli-error.js';
import { nameOf } from '../names.js';
import { orDash, timeText } from '../output.js';
import type { InSession } from '../program.js';

const EXPORT_PAGE = 2000;

interface ListOptions {
  readonly by?: string;
  readonly action?: string;
  readonly entity?: string;
  readonly result?: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit: string;
}

export function addAuditCommands(program: Command, session: InSession): void {
  const audit = program.command('audit').description('who did what at the site');

  audit.command('list', { isDefault: true }).description('newest last')
    .option('--by <name>', 'who did it').option('--action <part>', 'e.g. Failover, session, task.ended').option('--entity <kind:id>', 'e.g. vpg:<identifier>')
    .option('--result <result>', 'done, refused or failed').option('--from <time>', 'yyyy-MM-ddTHH:mm:ssZ or a part of it').option('--to <time>').option('--limit <count>', 'how many', '50')
    .action((options: ListOptions, command: Command) => session(command, async ({ client, output }) => {
      const found = await client.get<AuditEntryApi[]>('/audit', {
        userName: options.by, action: options.action, entity: options.entity, result: options.result, startDate: options.from, endDate: options.to, limit: options.limit,
      });
      output.list(found.reverse(), {
        '#': (one) => String(one.Sequence), TIME: (one) => timeText(one.OccurredOn), USER: (one) => orDash(one.UserName), BY: (one) => one.Method, FROM: (one) => orDash(one.Address),
        RESULT: (one) => nameOf(AUDIT_RESULT, one.Result), ACTION: (one) => one.Action, ABOUT: (one) => orDash(one.Entities.join(' ')), REMARK: (one) => orDash(one.Message ?? changesText(one)),
      }, 'no entries');
    }));

  audit.command('verify').description('walk the chain of all entries; exit code 1 and the first break when one was changed or is gone')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      const found = await client.get<AuditVerificationApi>('/audit/verify');
      if (!found.IsIntact) throw new CliError('CLI_FAILED', `the audit is broken at entry ${found.FirstBreak?.Sequence ?? '?'}: ${found.FirstBreak?.Detail ?? ''}`);
      output.done(found, `${found.Count} entries, each as it was written; the last hash is ${found.LastHash}`);
    }));

  audit.command('export').description('every entry as a line of JSON, oldest first').option('--after <number>', 'entries after this one', '0')
    .action((options: { after: string }, command: Command) => session(command, async ({ client, output }) => {
      for (let after = options.after; ;) {
        const text = (await client.getText('/audit/export', { afterSequence: after, limit: EXPORT_PAGE })).trim();
        if (text === '') return;
        output.text(text);
        after = String((JSON.parse(text.slice(text.lastIndexOf('\n') + 1)) as { seq: number }).seq);
      }
    }));
}

const changesText = ({ Changes }: AuditEntryApi): string => (Changes ?? []).map(({ Path, Before, After }) => `${Path}: ${Before} → ${After}`).join(', ').slice(0, 120);
