import type { Command } from 'commander';
import type { CallerApi, LocalSiteApi, RoleGrantApi, SessionApi } from '@tidemark/contracts';
import { CliError } from '../cli-error.js';
import { logInByBrowser } from '../browser-login.js';
import { keepSession } from '../kept-sessions.js';
import { orDash, timeText } from '../output.js';
import type { InSession } from '../program.js';

/** `Operator`, or `Operator on 2 VPGs` */
export const roleText = ({ Role, VpgIdentifiers }: RoleGrantApi): string => (VpgIdentifiers ? `${Role} on ${VpgIdentifiers.join(' ')}` : Role);

export function addLoginCommands(program: Command, session: InSession): void {
  program.command('login').description('open a session and keep it for the commands that follow; the password is asked for')
    .option('--sso', "log in at the site's identity provider, in a browser")
    .action((_options, command: Command) => session(command, async (inSession) => {
      const { client, output, url, environment, entry } = inSession;
      if (entry.kind === 'none') await logInByBrowser(inSession);
      const site = await client.get<LocalSiteApi>('/localsite').catch(async (error: unknown) => {
        // A first password opens a session that can do one thing only: that is a log-in too.
        if ((await client.get<CallerApi>('/session').catch(() => undefined))?.IsPasswordToBeChanged !== true) throw error;
        return undefined;
      });
      const isKept = (entry.kind === 'password' || entry.kind === 'none') && client.session !== undefined && (await keepSession(url, client.session, environment));
      if (isKept) client.leave();
      if (site === undefined) output.done({}, `logged in at ${url}; the password must be changed first: tidemark user password`);
      else output.facts(site, { site: site.SiteName, identifier: site.SiteIdentifier, address: url, version: site.Version, location: orDash(site.Location) });
    }));

  program.command('logout').description('end the session that login has kept')
    .action((_options, command: Command) => session(command, async ({ client, output, url, environment, entry }) => {
      if (entry.kind === 'token') throw new CliError('CLI_FAILED', 'an API token has no session to end: tidemark token revoke');
      await client.delete('/session');
      client.leave();
      await keepSession(url, undefined, environment);
      output.done({}, `logged out at ${url}`);
    }));

  program.command('whoami').description('who the site takes you for, and what you may do')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      const caller = await client.get<CallerApi>('/session');
      output.facts(caller, {
        user: caller.UserName, by: caller.Method, roles: caller.Roles.map(roleText).join(', '), permissions: caller.Permissions.join(' '), until: timeText(caller.Expires),
        ...(caller.IsPasswordToBeChanged ? { attention: 'the password must be changed first: tidemark user password' } : {}),
      });
    }));

  const sessions = program.command('session').description('sessions: your own, and all of them for who manages users');
  sessions.command('list', { isDefault: true }).description('open sessions')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      output.list(await client.get<SessionApi[]>('/session/list'), {
        USER: (one) => one.UserName, BY: (one) => one.Method, FROM: (one) => one.Address, CLIENT: (one) => orDash(one.Client), SINCE: (one) => timeText(one.Created),
        USED: (one) => timeText(one.LastUsed), UNTIL: (one) => timeText(one.Expires), IDENTIFIER: (one) => `${one.SessionIdentifier}${one.IsOwn ? ' (this one)' : ''}`,
      }, 'no sessions');
    }));
  sessions.command('end').argument('<session>', 'identifier').description('end a session')
    .action((sessionId: string, _options, command: Command) => session(command, async ({ client, output }) => {
      await client.delete(`/session/${encodeURIComponent(sessionId)}`);
      output.done({}, `session ${sessionId} is ended`);
    }));
}
