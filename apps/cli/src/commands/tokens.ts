import type { Command } from 'commander';
import type { CreatedTokenApi, TokenApi } from '@tidemark/contracts';
import { usage } from '../cli-error.js';
import { findOne, findVpg } from '../lookup.js';
import { timeText } from '../output.js';
import type { InSession } from '../program.js';

const DAY_MS = 24 * 3_600_000;
const several = (value: string, before: string[] = []): string[] => [...before, value];

interface MakeOptions {
  readonly scope: string[];
  readonly vpg?: string[];
  readonly days: string;
}

export function addTokenCommands(program: Command, session: InSession): void {
  const token = program.command('token').description('API tokens for programs, which send them as Authorization: Bearer');

  token.command('list', { isDefault: true }).description('your own, and all of them for who manages users')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      output.list(await client.get<TokenApi[]>('/tokens'), {
        NAME: (one) => one.Name, OWNER: (one) => one.UserName, SCOPES: (one) => one.Scopes.join(' '), VPGS: (one) => one.VpgIdentifiers?.join(' ') ?? 'as its owner',
        UNTIL: (one) => timeText(one.Expires), USED: (one) => timeText(one.LastUsed), IDENTIFIER: (one) => one.TokenIdentifier,
      }, 'no API tokens');
    }));

  token.command('make').argument('<name>', 'what it is for').description('make one; it is shown once')
    .requiredOption('--scope <permission>', 'what it may do (tidemark whoami lists what you may); may be given several times', several)
    .option('--vpg <vpg>', 'name or identifier: bind it to this VPG; may be given several times', several).option('--days <count>', 'how long it is good', '90')
    .action((name: string, options: MakeOptions, command: Command) => session(command, async ({ client, output }) => {
      const days = Number(options.days);
      if (!(days > 0)) throw usage(`--days: '${options.days}' is no number of days`);
      const vpgIds: string[] = [];
      for (const vpg of options.vpg ?? []) vpgIds.push((await findVpg(client, vpg)).VpgIdentifier);
      const made = await client.post<CreatedTokenApi>('/tokens', {
        Name: name, Scopes: options.scope, Expires: new Date(Date.now() + days * DAY_MS).toISOString(), ...(options.vpg === undefined ? {} : { VpgIdentifiers: vpgIds }),
      });
      output.facts(made, { token: made.Token, identifier: made.TokenIdentifier, scopes: made.Scopes.join(' '), until: timeText(made.Expires), attention: 'this is the only time that it is shown' });
    }));

  token.command('revoke').argument('<token>', 'name or identifier').description('end it at once')
    .action((wanted: string, _options, command: Command) => session(command, async ({ client, output }) => {
      const found = findOne(wanted, { items: await client.get<TokenApi[]>('/tokens'), idOf: (one) => one.TokenIdentifier, nameOf: (one) => one.Name, what: 'API token' });
      await client.delete(`/tokens/${found.TokenIdentifier}`);
      output.done({}, `API token '${found.Name}' is revoked`);
    }));
}
