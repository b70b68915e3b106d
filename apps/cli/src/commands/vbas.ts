import type { ApiClient } from '@tidemark/api-client';
import type { Command } from 'commander';
import type { TokenResultApi, VbaApi, VbaTokenApi } from '@tidemark/contracts';
import { findOne } from '../lookup.js';
import { orDash, timeText } from '../output.js';
import type { InSession } from '../program.js';

export async function findVba(client: ApiClient, wanted: string): Promise<VbaApi> {
  return findOne(wanted, { items: await client.get<VbaApi[]>('/vbas'), idOf: (one) => one.VbaIdentifier, nameOf: (one) => one.VbaName, what: 'VBA' });
}

export function addVbaCommands(program: Command, session: InSession): void {
  const vba = program.command('vba').description('backup appliances of the site: they read checkpoints from VRAs');

  vba.command('list', { isDefault: true }).description('all of them')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      output.list(await client.get<VbaApi[]>('/vbas'), {
        NAME: (one) => one.VbaName, HOST: (one) => one.HostIdentifier, ADDRESS: (one) => one.IpAddress, CONNECTED: (one) => (one.IsConnected ? 'yes' : 'no'), VERSION: (one) => orDash(one.VbaVersion),
        'CERTIFICATE ENDS': (one) => orDash(one.CertificateEnds ? timeText(one.CertificateEnds) : null), IDENTIFIER: (one) => one.VbaIdentifier,
      }, 'this site has no VBA');
    }));

  vba.command('add').description('make one known, and a token with which it is enrolled: once, within the hour').argument('<name>', 'shown to people')
    .requiredOption('--host <id>', 'the machine that it runs on, as its TIDEMARK_HOST_ID says: the token is good there only').requiredOption('--address <ip>', 'where it listens on 4006')
    .action((name: string, { host, address }: { host: string; address: string }, command: Command) => session(command, async ({ client, output }) => {
      const added = await client.post<VbaTokenApi>('/vbas', { VbaName: name, HostIdentifier: host, IpAddress: address });
      output.facts(added, { identifier: added.VbaIdentifier, token: added.Token, 'good until': added.UtcExpirationDate });
    }));

  vba.command('remove').description('void its certificate and its NATS user at once').argument('<vba>', 'name or identifier').option('--no-wait', 'do not wait for the task').option('-y, --yes', 'do not ask')
    .action((wanted: string, options: { wait: boolean; yes?: boolean }, command: Command) => session(command, async ({ client, output, task, confirm }) => {
      const { VbaIdentifier: id, VbaName: name } = await findVba(client, wanted);
      await confirm(`Removing VBA '${name}' ends what it is reading.`, options.yes === true);
      const taskId = await client.delete(`/vbas/${id}`, {});
      await task(taskId, { isWaiting: options.wait });
      output.done({ TaskIdentifier: taskId }, options.wait ? `VBA '${name}' is removed` : `removing VBA '${name}': task ${taskId}`);
    }));

  program.command('vba-token').description('a token with which a VBA that was not enrolled in time, or whose identity was lost or has expired, is enrolled anew: once, within the hour').argument('<vba>', 'name or identifier')
    .action((wanted: string, _options, command: Command) => session(command, async ({ client, output }) => {
      const { VbaIdentifier: id } = await findVba(client, wanted);
      const result = await client.post<TokenResultApi>(`/vbas/${id}/enrolmenttoken`, {});
      output.facts(result, { token: result.Token, 'good until': result.UtcExpirationDate });
    }));
}
