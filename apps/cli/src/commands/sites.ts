import type { Command } from 'commander';
import type { LocalSiteApi, PeerSiteApi, TokenResultApi, VraApi } from '@tidemark/contracts';
import { PAIRING_STATUS } from '@tidemark/contracts/enumerations';
import { usage } from '../cli-error.js';
import type { Session } from '../context.js';
import { findOne } from '../lookup.js';
import { nameOf } from '../names.js';
import { orDash, type Output } from '../output.js';
import type { InSession } from '../program.js';
import { readSecret } from '../read-files.js';

export function addSiteCommands(program: Command, session: InSession): void {
  program.command('sites').description('this site and those paired with it')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      const local = await client.get<LocalSiteApi>('/localsite');
      const peers = await client.get<PeerSiteApi[]>('/peersites');
      output.list([siteRow(local), ...peers.map(peerRow)], {
        NAME: (row) => row.name, PAIRING: (row) => row.pairing, ADDRESS: (row) => row.address, LOCATION: (row) => row.location, VERSION: (row) => row.version, IDENTIFIER: (row) => row.identifier,
      }, 'no sites');
    }));

  program.command('pairing-token').description('a token with which one other site can be paired with this one: once, within the hour')
    .action((_options, command: Command) => session(command, async ({ client, output }) => showToken(output, await client.post<TokenResultApi>('/peersites/generatetoken', {}))));

  program.command('vra-token').description('a token with which a VRA whose identity was lost or has expired is enrolled anew: once, within the hour').argument('<vra>', 'name or identifier')
    .action((wanted: string, _options, command: Command) => session(command, async ({ client, output }) => {
      const vra = findOne(wanted, { items: await client.get<VraApi[]>('/vras'), idOf: (one) => one.VraIdentifierStr ?? '', nameOf: (one) => one.VraName ?? '', what: 'VRA' });
      showToken(output, await client.post<TokenResultApi>(`/vras/${vra.VraIdentifierStr ?? ''}/enrolmenttoken`, {}));
    }));

  program.command('pair').description('pair this site with another one').argument('<host>', 'where the other site listens for peers, with :port if it is not 9081')
    .option('--pairing-token-file <file>', 'holds the one-time token made at the other site (tidemark pairing-token); - is standard input. Else TIDEMARK_PAIRING_TOKEN, or it is asked for')
    .option('--no-wait', 'do not wait for the task')
    .action((host: string, options: { pairingTokenFile?: string; wait: boolean }, command: Command) => session(command, async (inSession) => {
      const { client, output, task } = inSession;
      const { name, port } = hostAndPort(host);
      const taskId = await client.post('/peersites', { HostName: name, Port: port, Token: await pairingToken(inSession, host, options.pairingTokenFile) });
      await task(taskId, { isWaiting: options.wait });
      output.done({ TaskIdentifier: taskId }, options.wait ? `paired with ${host}` : `pairing with ${host}: task ${taskId}`);
    }));

  program.command('let-protect').description('whether a paired site may begin to protect VMs of this site by itself; without it, only what is asked for here').argument('<site>', 'name or identifier')
    .argument('<answer>', 'yes or no')
    .action((wanted: string, answer: string, _options, command: Command) => session(command, async ({ client, output }) => {
      if (answer !== 'yes' && answer !== 'no') throw usage(`'${answer}': yes or no is expected`);
      const peer = findOne(wanted, { items: await client.get<PeerSiteApi[]>('/peersites'), idOf: (one) => one.SiteIdentifier, nameOf: (one) => one.PeerSiteName, what: 'paired site' });
      const { CanProtectVms } = await client.put<PeerSiteApi>(`/peersites/${peer.SiteIdentifier}`, { CanProtectVms: answer === 'yes' });
      output.done({ CanProtectVms }, CanProtectVms ? `${peer.PeerSiteName} may begin to protect VMs of this site` : `${peer.PeerSiteName} protects what it is asked to at this site, and nothing else`);
    }));

  program.command('unpair').description('end the pairing with a site').argument('<site>', 'name or identifier')
    .option('--keep-target-disks', 'keep the recovery volumes of its VPGs').option('--no-wait', 'do not wait for the task').option('-y, --yes', 'do not ask')
    .action((wanted: string, options: { keepTargetDisks?: boolean; wait: boolean; yes?: boolean }, command: Command) => session(command, async ({ client, output, task, confirm }) => {
      const peer = findOne(wanted, { items: await client.get<PeerSiteApi[]>('/peersites'), idOf: (one) => one.SiteIdentifier, nameOf: (one) => one.PeerSiteName, what: 'paired site' });
      await confirm(`Unpairing '${peer.PeerSiteName}' deletes the VPGs between the two sites.`, options.yes === true);
      const taskId = await client.delete(`/peersites/${peer.SiteIdentifier}`, { IsKeepTargetDisks: options.keepTargetDisks ?? false });
      await task(taskId, { isWaiting: options.wait });
      output.done({ TaskIdentifier: taskId }, options.wait ? `unpaired from ${peer.PeerSiteName}` : `unpairing ${peer.PeerSiteName}: task ${taskId}`);
    }));
}

async function pairingToken({ ask, environment }: Session, host: string, file: string | undefined): Promise<string> {
  const token = file === undefined ? (environment['TIDEMARK_PAIRING_TOKEN'] ?? (await ask(`Pairing token of ${host}: `))) : await readSecret(file, 'the pairing token');
  if (token === undefined) throw usage('no pairing token: give --pairing-token-file (- is standard input) or set TIDEMARK_PAIRING_TOKEN; tidemark pairing-token makes one at the other site');
  return token.trim();
}

/** On standard output alone, so that a script can pass it on; until when it is good is for people. */
function showToken(output: Output, result: TokenResultApi): void {
  output.facts(result, { token: result.Token, 'good until': result.UtcExpirationDate });
}

const PEER_PORT = 9081;

function hostAndPort(text: string): { name: string; port: number } {
  const [, name = '', digits] = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(text) ?? [];
  const port = digits === undefined ? PEER_PORT : Number(digits);
  if (name === '' || port < 1 || port > 65_535) throw usage(`'${text}': HOST or HOST:PORT is expected`);
  return { name: name.replace(/^\[|\]$/g, ''), port };
}

interface SiteRow {
  readonly name: string;
  readonly identifier: string;
  readonly pairing: string;
  readonly address: string;
  readonly location: string;
  readonly version: string;
}

const siteRow = (site: LocalSiteApi): SiteRow => ({
  name: site.SiteName, identifier: site.SiteIdentifier, pairing: 'this site', address: orDash(site.IpAddress), location: orDash(site.Location), version: site.Version,
});

const peerRow = (peer: PeerSiteApi): SiteRow => ({
  name: peer.PeerSiteName, identifier: peer.SiteIdentifier, pairing: nameOf(PAIRING_STATUS, peer.PairingStatus), address: `${peer.HostName}:${peer.Port}`,
  location: orDash(peer.Location), version: orDash(peer.Version),
});
