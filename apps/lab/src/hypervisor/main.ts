import { readFile } from 'node:fs/promises';
import { serveHypervisor, SimulatedHypervisor } from '@tidemark/hypervisor';
import { ComponentIdentity, type KeyAndCertificate, readPrivate } from '@tidemark/trust';
import { ProcessRegistry } from '../process/process-registry.js';
import { ProcessRunner } from '../process/process-runner.js';
import { ApplianceProcesses } from './appliance-processes.js';
import { hypervisorConfigSchema } from './config.js';

/** How soon a renewed certificate is shown. */
const RENEWAL_MS = 2000;

/** The process `hypervisor` of a lab site: node hypervisor/main.js CONFIG. Its appliances outlive it. */
async function main(configPath: string | undefined): Promise<void> {
  if (configPath === undefined) throw new Error('usage: hypervisor/main.js CONFIG');
  const config = hypervisorConfigSchema.parse(JSON.parse(await readFile(configPath, 'utf8')));
  const runner = new ProcessRunner(new ProcessRegistry(config.runFolder));
  const hypervisor = await SimulatedHypervisor.open({
    statePath: config.statePath,
    serverGuid: config.serverGuid,
    appliances: new ApplianceProcesses(runner, config),
  });
  await hypervisor.seed(config.seed);
  const { host, port } = config;
  const server = await serveHypervisor(hypervisor, { host, port, ...(await keyIn(config.identityFolder)), credential: await readPrivate(config.credentialPath) });
  const renewal = setInterval(() => void keyIn(config.identityFolder).then((key) => server.renew(key), (error: unknown) => console.error(error)), RENEWAL_MS);
  console.log(`${new Date().toISOString()} simulated hypervisor manager at ${server.url}, revision ${hypervisor.revision}`);
  process.once('SIGTERM', () => {
    clearInterval(renewal);
    void server.close(); // then nothing keeps the process
  });
}

async function keyIn(folder: string): Promise<KeyAndCertificate> {
  const identity = await ComponentIdentity.open(folder);
  if (!identity) throw new Error(`${folder} holds no certificate: zvm init --certificate hypervisor=HOST makes it`);
  return identity.current();
}

main(process.argv[2]).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
