import { parseArgs } from 'node:util';
import type { ZvmConfig } from '../config.js';
import { readFile } from 'node:fs/promises';
import { RestCertificate } from './rest-certificate.js';
import { type ServerHosts, SiteTrust, trustFolder } from './site-trust.js';

export const USAGE = `usage: zvm                                      run
       zvm init [--certificate ROLE=HOST[,HOST]]…   make CA, NATS operator and certificates, renew what is due; ROLE is postgres or hypervisor
       zvm import-certificate CERTIFICATE KEY   serve 9669 with an own certificate (PEM files: chain, server first; key without passphrase)
       zvm use-site-certificate                 serve 9669 with the certificate of the site's CA again
A running ZVM takes up what the last two change within a minute.`;

/** Thrown for a command line that is none. */
export class UsageError extends Error {}

/** What `zvm COMMAND …` does to the trust folder, in words. */
export async function runTrustCommand(command: string, args: readonly string[], config: ZvmConfig): Promise<string> {
  switch (command) {
    case 'init': return await init(args, config);
    case 'import-certificate': return await importCertificate(args, config);
    case 'use-site-certificate': return await useSiteCertificate(args, config);
    default: throw new UsageError(`'${command}' is no command\n${USAGE}`);
  }
}

async function init(args: readonly string[], config: ZvmConfig): Promise<string> {
  await SiteTrust.open(config, Date.now, serverHosts(args));
  return `the trust of site ${config.siteName} is in ${trustFolder(config)}`;
}

async function importCertificate([certificatePath, keyPath, ...rest]: readonly string[], config: ZvmConfig): Promise<string> {
  if (certificatePath === undefined || keyPath === undefined || rest.length > 0) throw new UsageError(USAGE);
  const rest9669 = await RestCertificate.open(config, await SiteTrust.open(config, Date.now), Date.now);
  await rest9669.import(await readFile(certificatePath, 'utf8'), await readFile(keyPath, 'utf8'));
  return `9669 is served with ${certificatePath}`;
}

async function useSiteCertificate(args: readonly string[], config: ZvmConfig): Promise<string> {
  if (args.length > 0) throw new UsageError(USAGE);
  const rest9669 = await RestCertificate.open(config, await SiteTrust.open(config, Date.now), Date.now);
  await rest9669.useOwn();
  return "9669 is served with the certificate of the site's CA";
}

function serverHosts(args: readonly string[]): ServerHosts {
  let given: string[];
  try {
    given = parseArgs({ args: [...args], options: { certificate: { type: 'string', multiple: true, default: [] } } }).values.certificate;
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${USAGE}`);
  }
  const hosts: ServerHosts = {};
  for (const text of given) {
    const [role = '', list = ''] = text.split('=');
    if ((role !== 'postgres' && role !== 'hypervisor') || list === '') throw new UsageError(`--certificate ${text}: ROLE=HOST is expected, e.g. postgres=127.0.1.1`);
    hosts[role] = list.split(',');
  }
  return hosts;
}
