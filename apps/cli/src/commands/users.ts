import type { Command } from 'commander';
import type { ApiClient } from '@tidemark/api-client';
import type { GeneratedPasswordApi, UserApi } from '@tidemark/contracts';
import { usage } from '../cli-error.js';
import type { Session } from '../context.js';
import { findOne, findVpg } from '../lookup.js';
import type { Output } from '../output.js';
import { timeText } from '../output.js';
import type { InSession } from '../program.js';
import { readStandardInput } from '../read-files.js';
import { roleText } from './login.js';

const ROLE_HELP = 'administrator, operator, tester, viewer or fileRestoreOperator; role:VPG,VPG binds it to some VPGs; may be given several times';
const several = (value: string, before: string[] = []): string[] => [...before, value];

export function addUserCommands(program: Command, session: InSession): void {
  const user = program.command('user').description('who may log in, and what as');

  user.command('list', { isDefault: true }).description('all users')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      output.list(await client.get<UserApi[]>('/users'), {
        NAME: (one) => one.UserName, ROLES: (one) => one.Roles.map(roleText).join(', '),
        STATE: (one) => (one.IsDisabled ? 'disabled' : one.IsPasswordToBeChanged ? 'must change the password' : 'active'),
        'LAST LOG-IN': (one) => timeText(one.LastLogin), SINCE: (one) => timeText(one.Created), IDENTIFIER: (one) => one.UserIdentifier,
      }, 'no users');
    }));

  user.command('add').argument('<name>').description('make a user; its first password is shown once').requiredOption('--role <role>', ROLE_HELP, several)
    .action((name: string, options: { role: string[] }, command: Command) => session(command, async ({ client, output }) => {
      showPassword(output, await client.post<GeneratedPasswordApi>('/users', { UserName: name, Roles: await rolesOf(client, options.role) }));
    }));

  user.command('set').argument('<name>').description('give other roles; the sessions of the user end').requiredOption('--role <role>', ROLE_HELP, several)
    .action((name: string, options: { role: string[] }, command: Command) => session(command, async ({ client, output }) => {
      const { UserIdentifier } = await find(client, name);
      const changed = await client.put<UserApi>(`/users/${UserIdentifier}`, { Roles: await rolesOf(client, options.role) });
      output.done(changed, `${changed.UserName}: ${changed.Roles.map(roleText).join(', ')}`);
    }));

  for (const [verb, IsDisabled] of [['disable', true], ['enable', false]] as const) {
    user.command(verb).argument('<name>').description(IsDisabled ? 'no log-in, no sessions, no API tokens any more' : 'let a disabled user in again')
      .action((name: string, _options, command: Command) => session(command, async ({ client, output }) => {
        output.done(await client.put<UserApi>(`/users/${(await find(client, name)).UserIdentifier}`, { IsDisabled }), `${name} is ${verb}d`);
      }));
  }

  user.command('remove').argument('<name>').description('with its sessions and API tokens').option('-y, --yes', 'do not ask')
    .action((name: string, options: { yes?: boolean }, command: Command) => session(command, async ({ client, output, confirm }) => {
      const found = await find(client, name);
      await confirm(`Removing '${found.UserName}' revokes its API tokens too.`, options.yes === true);
      await client.delete(`/users/${found.UserIdentifier}`);
      output.done({}, `${found.UserName} is removed`);
    }));

  user.command('reset-password').argument('<name>').description('make a new first password, shown once')
    .action((name: string, _options, command: Command) => session(command, async ({ client, output }) => {
      showPassword(output, await client.post<GeneratedPasswordApi>(`/users/${(await find(client, name)).UserIdentifier}/resetPassword`));
    }));

  user.command('unlock').argument('<name>').description('end the waiting that failed log-ins brought')
    .action((name: string, _options, command: Command) => session(command, async ({ client, output }) => {
      await client.post(`/users/${(await find(client, name)).UserIdentifier}/unlock`);
      output.done({}, `${name} can log in again`);
    }));

  user.command('password').description('change your own; asked for, or two lines (old, new) on standard input with --stdin').option('--stdin', 'read them from standard input')
    .action((options: { stdin?: boolean }, command: Command) => session(command, async (inSession) => {
      await inSession.client.post('/session/password', await passwordsOf(inSession, options.stdin === true));
      inSession.output.done({}, 'the password is changed; your other sessions are ended');
    }));
}

async function find(client: ApiClient, name: string): Promise<UserApi> {
  return findOne(name, { items: await client.get<UserApi[]>('/users'), idOf: (one) => one.UserIdentifier, nameOf: (one) => one.UserName, what: 'user' });
}

async function rolesOf(client: ApiClient, given: readonly string[]): Promise<object[]> {
  const roles: object[] = [];
  for (const text of given) {
    const [Role = '', vpgs] = text.split(/:(.*)/s);
    const VpgIdentifiers: string[] = [];
    for (const name of vpgs?.split(',') ?? []) VpgIdentifiers.push((await findVpg(client, name)).VpgIdentifier);
    roles.push(vpgs === undefined ? { Role } : { Role, VpgIdentifiers });
  }
  return roles;
}

function showPassword(output: Output, made: GeneratedPasswordApi): void {
  output.facts(made, { user: made.UserName, 'first password': made.Password, attention: 'this is the only time that it is shown; its first session can only change it' });
}

async function passwordsOf({ ask }: Session, isStandardInput: boolean): Promise<{ OldPassword: string; NewPassword: string }> {
  if (isStandardInput) {
    const [OldPassword = '', NewPassword = ''] = (await readStandardInput()).split(/\r?\n/);
    return { OldPassword, NewPassword };
  }
  const OldPassword = await ask('Old password: ');
  const NewPassword = await ask('New password: ');
  const again = await ask('New password again: ');
  if (OldPassword === undefined || NewPassword === undefined) throw usage('there is no terminal to ask at: give --stdin');
  if (NewPassword !== again) throw usage('the two new passwords differ');
  return { OldPassword, NewPassword };
}
